/* What becomes of a campaign's files: Markdown, layouts, derived text, images and attachments. */
#include "config_fixture.h"

#include "common/campaign_content.h"
#include "common/content_mail.h"

#define CAMPAIGN(keys)                                                                             \
    "audience = { sql = \"SELECT id FROM s WHERE id > :after ORDER BY id LIMIT :limit\"; };\n"     \
    "content = { from = \"a@b.example\"; subject = \"Hi\";\n" keys " };"

static const struct {
    const char *name, *text;
} FILES[] = {
    {"a.txt", "Hello {{name}}\n"},
    {"a.html", "<p>Hello &amp; {{name}}</p>"},
    {"a.md", "# Hello *{{name}}*\n\n{{> foot}}\n"},
    {"foot.md", "[bye](https://b.example/{{id}})\n"},
    {"foot.html", "<hr>foot of HTML\n"},
    {"layout.html", "<body>\n{{> content}}\n{{> foot}}\n</body>\n"},
    {"deep.html", "{{> wrap}}"},
    {"wrap.html", "<div>{{> content}}</div>"},
    {"empty.html", "<img src=x>"},
    {"tree.html", "{{text}}{{#items}}{{> tree}}{{/items}}"},
    {"tree.md", "{{text}}{{#items}}{{> tree}}{{/items}}"},
    {"open.md", "# x\n\n{{#open}}\n"},
    {"latin.md", "caf\xe9"},
    {"halves.html", "<style>{{#a}}</style>{{/a}}x"},
    {"image.html", "<img src=\"cid:logo.png\"> <i style='background:url(cid:b.jpg)'>cid:no</i>"},
    {"other.html", "{{> image}}"},
    {"tagged.html", "<img src=\"cid:{{icon}}.png\">"},
    {"image.md", "![Logo](cid:logo.png)\n"},
    {"files/logo.png", "\x89PNG"},
    {"files/b.jpg", "JPEG"},
    {"files/b c.png", "PNG"},
    {"files/logo.svg.exe", "MZ"},
    {"약관.pdf", "%PDF"},
};
enum { N_FILES = sizeof FILES / sizeof *FILES };

static struct settings settings;

static int setup(void **state)
{
    if (fixture_setup(state)) return -1;
    mkdir(fixture_path("campaigns"), 0700);
    mkdir(fixture_path("templates"), 0700);
    mkdir(fixture_path("templates/files"), 0700);
    for (int i = 0; i < N_FILES; i++) {
        char path[100];
        snprintf(path, sizeof path, "templates/%s", FILES[i].name);
        fixture_write(path, FILES[i].text);
    }
    fixture_write("secret.pdf", "secret");
    if (symlink("../secret.pdf", fixture_path("templates/link.pdf")) != 0) return -1;
    char *large = calloc(1, MESSAGE_FILES_MAX);
    fixture_write_bytes("templates/large.bin", large, MESSAGE_FILES_MAX);
    fixture_write_bytes("templates/half.bin", large, MESSAGE_FILES_MAX / 2);
    fixture_write_bytes("templates/half2.bin", large, MESSAGE_FILES_MAX / 2 + 1);
    free(large);
    const char *file =
        fixture_write("mailflock.cfg", "transports = { relay = { url = \"smtp://a\"; }; };");
    return settings_read(file, &settings).code;
}

static int teardown(void **state)
{
    settings_free(&settings);
    return fixture_teardown(state);
}

static struct err load(const char *text, struct campaign *c)
{
    fixture_write("campaigns/c.cfg", text);
    return campaign_content_load(&settings, "c", c);
}

struct good {
    const char *claim, *keys;
    const char *text, *html; /* NULL: there is no such part */
};

#define LETTER                                                                                     \
    "<h1>Hello <em>{{name}}</em></h1>\n<p><a href=\"https://b.example/{{id}}\">bye</a></p>\n"
#define PLAIN "# Hello {{name}}\n\nbye (https://b.example/{{id}})\n"

static const struct good good[] = {
    {"text_alone", "text = \"a.txt\";", "Hello {{name}}\n", NULL},
    {"html_gets_a_text", "html = \"a.html\";", "Hello & {{name}}\n", "<p>Hello &amp; {{name}}</p>"},
    {"a_text_that_is_given_stays", "html = \"a.html\"; text = \"a.txt\";", "Hello {{name}}\n",
     "<p>Hello &amp; {{name}}</p>"},
    {"deriving_can_be_turned_off", "html = \"a.html\"; derive_text = false;", NULL,
     "<p>Hello &amp; {{name}}</p>"},
    {"html_without_words_gets_no_text", "html = \"empty.html\";", NULL, "<img src=x>"},
    {"recursive_html_needs_no_derived_text", "html = \"tree.html\"; derive_text = false;", NULL,
     "{{text}}{{#items}}{{> tree}}{{/items}}"},
    {"markdown_becomes_both", "markdown = \"a.md\";", PLAIN, LETTER},
    {"markdown_beside_a_text", "markdown = \"a.md\"; text = \"a.txt\";", "Hello {{name}}\n",
     LETTER},
    {"markdown_in_a_layout", "markdown = \"a.md\"; layout = \"layout.html\";",
     PLAIN "\n---\n\nfoot of HTML\n", "<body>\n{{> content}}\n{{> foot}}\n</body>\n"},
    {"the_layouts_partial_may_hold_the_letter", "markdown = \"a.md\"; layout = \"deep.html\";",
     PLAIN, "{{> wrap}}"},
};

static void makes(void **state)
{
    const struct good *row = *state;
    char text[1000];
    struct campaign c;
    struct message *m;
    snprintf(text, sizeof text, CAMPAIGN("%s"), row->keys);
    struct err e = load(text, &c);
    assert_string_equal(e.text, "");
    struct content content = campaign_content(&c);
    assert_int_equal(content.has_text, row->text != NULL);
    assert_int_equal(content.has_html, row->html != NULL);
    assert_string_equal(content.text, row->text ? row->text : "");
    assert_string_equal(content.html, row->html ? row->html : "");
    e = content_compile(&content, &m);
    assert_string_equal(e.text, "");
    message_free(m);
    campaign_free(&c);
}

static void the_letter_is_a_partial_of_its_layout(void **state)
{
    (void)state;
    struct campaign c;
    struct err e = load(CAMPAIGN("markdown = \"a.md\"; layout = \"layout.html\";"), &c);
    assert_string_equal(e.text, "");
    assert_int_equal(c.content.partials.count, 2);
    assert_string_equal(c.content.partials.items[0].name, "content.html");
    assert_string_equal(c.content.partials.items[0].text, LETTER);
    assert_string_equal(c.content.partials.items[1].text, "<hr>foot of HTML\n");
    campaign_free(&c);
}

static void files_are_read_images_first(void **state)
{
    (void)state;
    static const struct message_file want[] = {{"logo.png", "\x89PNG", 4, true},
                                               {"b.jpg", "JPEG", 4, true},
                                               {"약관.pdf", "%PDF", 4, false},
                                               {"logo.png", "\x89PNG", 4, false}};
    static const char *const html[] = {"html = \"image.html\";", "html = \"other.html\";"};
    for (int k = 0; k < 2; k++) {
        char text[1000];
        struct campaign c;
        snprintf(text, sizeof text,
                 CAMPAIGN("%s attachments = [\"약관.pdf\", \"files/logo.png\"];"
                          "images = [\"files/logo.png\", \"files/b.jpg\"];"),
                 html[k]);
        struct err e = load(text, &c);
        assert_string_equal(e.text, "");
        assert_int_equal(c.content.n_files, 4);
        for (size_t i = 0; i < 4; i++) {
            assert_string_equal(c.content.files[i].name, want[i].name);
            assert_int_equal(c.content.files[i].len, want[i].len);
            assert_memory_equal(c.content.files[i].bytes, want[i].bytes, want[i].len);
            assert_int_equal(c.content.files[i].image, want[i].image);
        }
        campaign_free(&c);
    }
}

static void these_files_are_fine(void **state)
{
    (void)state;
    static const char *const rows[] = {
        CAMPAIGN("text = \"a.txt\"; attachments = [\"large.bin\"];"),
        CAMPAIGN("text = \"a.txt\"; attachments = [\"half.bin\", \"files/logo.svg.exe\"];"),
        CAMPAIGN("html = \"tagged.html\"; images = [\"files/logo.png\"];"),
        CAMPAIGN("markdown = \"image.md\"; images = [\"files/logo.png\"];"),
        CAMPAIGN(
            "markdown = \"image.md\"; layout = \"layout.html\"; images = [\"files/logo.png\"];"),
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct campaign c;
        struct err e = load(rows[i], &c);
        assert_string_equal(e.text, "");
        campaign_free(&c);
    }
}

struct bad {
    const char *claim, *keys;
    const char *tells[3];
};

static const struct bad bad[] = {
    {"html_and_markdown",
     "html = \"a.html\";\n markdown = \"a.md\";",
     {"c.cfg:4: content.markdown: becomes the HTML, which content.html gives already"}},
    {"a_layout_around_nothing",
     "html = \"a.html\"; layout = \"layout.html\";",
     {"c.cfg:3: content.layout: is around content.markdown, which is not given"}},
    {"missing_markdown",
     "markdown = \"gone.md\";",
     {"c.cfg:3: content.markdown: cannot open", "gone.md: No such file"}},
    {"missing_layout",
     "markdown = \"a.md\"; layout = \"gone.html\";",
     {"c.cfg:3: content.layout: cannot open", "gone.html"}},
    {"layout_without_a_place_for_the_letter",
     "markdown = \"a.md\"; layout = \"a.html\";",
     {"c.cfg:3: content.layout: a.html has no {{> content}}, where the letter goes"}},
    {"markdown_that_is_not_utf8", "markdown = \"latin.md\";", {"latin.md is not UTF-8"}},
    {"markdown_with_an_open_section",
     "markdown = \"open.md\";",
     {"c.cfg: open.md:3:1: a section that is not closed: {{#open}}"}},
    {"markdown_whose_partial_uses_itself",
     "markdown = \"tree.md\";",
     {"c.cfg: tree.md:1:19: tree.md uses itself"}},
    {"html_whose_text_cannot_be_derived",
     "html = \"tree.html\";",
     {"c.cfg", "content.derive_text: no text can be made of the HTML; give content.text, or turn",
      "tree.html:1:19: tree.html uses itself"}},
    {"html_that_loses_half_a_section_in_the_text",
     "html = \"halves.html\";",
     {"content.derive_text: no text can be made of the HTML", "{{/a}} without a section"}},
    {"missing_attachment",
     "text = \"a.txt\";\n attachments = [\"gone.pdf\"];",
     {"c.cfg:4: content.attachments: cannot open", "gone.pdf: No such file"}},
    {"attachment_above_the_directory",
     "text = \"a.txt\"; attachments = [\"../secret.pdf\"];",
     {"content.attachments: '../secret.pdf' must be a path inside"}},
    {"attachment_linked_from_outside",
     "text = \"a.txt\"; attachments = [\"link.pdf\"];",
     {"content.attachments: 'link.pdf' is a link that leads outside"}},
    {"attachment_that_is_a_directory",
     "text = \"a.txt\"; attachments = [\"files\"];",
     {"content.attachments", "not a regular file"}},
    {"attachments_that_are_too_large",
     "text = \"a.txt\"; attachments = [\"half.bin\", \"half2.bin\"];",
     {"content.attachments: with half2.bin, images and attachments together have more than 5242880 "
      "bytes"}},
    {"image_and_attachment_that_are_too_large",
     "html = \"tagged.html\"; images = [\"files/logo.png\"]; attachments = [\"large.bin\"];",
     {"content.attachments: with large.bin, images and attachments together"}},
    {"the_same_attachment_twice",
     "text = \"a.txt\"; attachments = [\"half.bin\", \"half.bin\"];",
     {"c.cfg: the file half.bin: there are two files of that name"}},
    {"an_image_that_is_none",
     "html = \"tagged.html\"; images = [\"files/logo.svg.exe\"];",
     {"c.cfg: the file logo.svg.exe: an image's name ends with .png"}},
    {"an_image_with_a_blank",
     "html = \"tagged.html\"; images = [\"files/b c.png\"];",
     {"the file b c.png: an image's name has letters, digits"}},
    {"an_image_without_html",
     "text = \"a.txt\"; images = [\"files/logo.png\"];",
     {"content.images: files/logo.png is not shown: the HTML has no cid:logo.png"}},
    {"an_image_that_is_not_shown",
     "html = \"a.html\"; images = [\"files/logo.png\"];",
     {"content.images: files/logo.png is not shown: the HTML has no cid:logo.png"}},
    {"an_image_that_is_not_given",
     "html = \"image.html\";\n images = [\"files/logo.png\"];",
     {"c.cfg:4: content.images: image.html shows cid:b.jpg, an image that is not given here"}},
    {"an_image_of_a_partial_that_is_not_given",
     "html = \"other.html\";",
     {"content.images: image.html shows cid:logo.png, an image that is not given here"}},
};

static void refuses(void **state)
{
    const struct bad *row = *state;
    char text[1000];
    struct campaign c;
    snprintf(text, sizeof text, CAMPAIGN("%s"), row->keys);
    struct err e = load(text, &c);
    if (!e.code) campaign_free(&c);
    assert_tells(&e, ERR_CONFIG, row->tells, 3);
}

enum { GOOD = sizeof good / sizeof *good, BAD = sizeof bad / sizeof *bad };

int main(void)
{
    static const struct CMUnitTest plain[] = {
        cmocka_unit_test(the_letter_is_a_partial_of_its_layout),
        cmocka_unit_test(files_are_read_images_first),
        cmocka_unit_test(these_files_are_fine),
    };
    static struct CMUnitTest made[GOOD], refused[BAD];
    for (int i = 0; i < GOOD; i++)
        made[i] = (struct CMUnitTest){good[i].claim, makes, NULL, NULL, (void *)&good[i]};
    for (int i = 0; i < BAD; i++)
        refused[i] = (struct CMUnitTest){bad[i].claim, refuses, NULL, NULL, (void *)&bad[i]};
    int failed = cmocka_run_group_tests_name("content", plain, setup, teardown);
    failed += cmocka_run_group_tests_name("content makes", made, setup, teardown);
    return failed + cmocka_run_group_tests_name("content refuses", refused, setup, teardown);
}
