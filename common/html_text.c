/* The one file that knows libxml2. Its HTML parser reads anything, with the tags of Mustache
 * covered; this file passes once through the tree. */
#include "common/html_text.h"

#include <libxml/HTMLparser.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include "common/tag_cover.h"
#include "common/text_lines.h"

enum { BULLET_SIZE = 24, PREFIX_MAX = 16 * 1024, NUMBER_MAX = 999999999 };

enum role {
    ROLE_INLINE,
    ROLE_LINE,  /* is on lines of its own */
    ROLE_BLOCK, /* the same, between blank lines */
    ROLE_GONE,  /* does not show */
};

static const struct {
    const char *name;
    enum role role;
} ROLES[] = {
    {"p", ROLE_BLOCK},      {"div", ROLE_LINE},         {"tr", ROLE_LINE},
    {"table", ROLE_BLOCK},  {"ul", ROLE_BLOCK},         {"ol", ROLE_BLOCK},
    {"li", ROLE_LINE},      {"h1", ROLE_BLOCK},         {"h2", ROLE_BLOCK},
    {"h3", ROLE_BLOCK},     {"h4", ROLE_BLOCK},         {"h5", ROLE_BLOCK},
    {"h6", ROLE_BLOCK},     {"blockquote", ROLE_BLOCK}, {"pre", ROLE_BLOCK},
    {"hr", ROLE_BLOCK},     {"dl", ROLE_BLOCK},         {"dt", ROLE_LINE},
    {"dd", ROLE_LINE},      {"figure", ROLE_BLOCK},     {"figcaption", ROLE_LINE},
    {"address", ROLE_LINE}, {"article", ROLE_LINE},     {"aside", ROLE_LINE},
    {"body", ROLE_LINE},    {"caption", ROLE_LINE},     {"center", ROLE_LINE},
    {"footer", ROLE_LINE},  {"header", ROLE_LINE},      {"main", ROLE_LINE},
    {"nav", ROLE_LINE},     {"section", ROLE_LINE},     {"head", ROLE_GONE},
    {"script", ROLE_GONE},  {"style", ROLE_GONE},       {"template", ROLE_GONE},
    {"title", ROLE_GONE},
};

/* One pass. */
struct pass {
    struct tag_cover cover;
    struct text_lines lines;
    struct buf prefix, target;
    size_t link_at; /* the current link's text begins there, */
    unsigned link_line;
    int pre; /* depth of <pre> */
};

static bool is(const xmlNode *node, const char *name)
{
    return node && node->type == XML_ELEMENT_NODE &&
           strcasecmp((const char *)node->name, name) == 0;
}

/* An attribute's text; "" where there is none. The caller frees with xmlFree. */
static char *attribute(xmlNode *node, const char *name)
{
    xmlChar *value = xmlGetProp(node, (const xmlChar *)name);
    return (char *)(value ? value : xmlStrdup((const xmlChar *)""));
}

static bool is_hidden(xmlNode *node)
{
    if (xmlHasProp(node, (const xmlChar *)"hidden")) return true;
    char *style = attribute(node, "style"), *to = style;
    for (const char *from = style; *from; from++)
        if (*from != ' ') *to++ = *from;
    *to = '\0';
    bool hidden = strcasestr(style, "display:none") != NULL;
    xmlFree(style);
    return hidden;
}

static enum role role_of(xmlNode *node)
{
    if (is_hidden(node)) return ROLE_GONE;
    for (size_t i = 0; i < sizeof ROLES / sizeof ROLES[0]; i++) {
        if (!is(node, ROLES[i].name)) continue;
        bool nested = is(node->parent, "li") && (is(node, "ul") || is(node, "ol"));
        return nested ? ROLE_LINE : ROLES[i].role;
    }
    return ROLE_INLINE;
}

/* Numbers would not count where a section repeats the items. */
static bool has_tags(const struct pass *p, const xmlNode *list)
{
    size_t at, len;
    for (const xmlNode *n = list->children; n; n = n->next) {
        const char *text = (const char *)n->content;
        if (n->type == XML_TEXT_NODE && tag_cover_find(&p->cover, text, strlen(text), &at, &len))
            return true;
    }
    return false;
}

static void bullet_of(const struct pass *p, const xmlNode *item, char out[BULLET_SIZE])
{
    snprintf(out, BULLET_SIZE, "- ");
    if (!is(item->parent, "ol") || has_tags(p, item->parent)) return;
    char *start = attribute(item->parent, "start");
    long first = *start ? strtol(start, NULL, 10) : 1;
    if (first < -NUMBER_MAX || first > NUMBER_MAX) first = 1;
    for (const xmlNode *n = item->prev; n; n = n->prev) first += is(n, "li");
    xmlFree(start);
    snprintf(out, BULLET_SIZE, "%ld. ", first);
}

/* What the ancestors put before a line. An item's bullet stands before its first line only;
 * _private, which is the application's, tells that it was written. */
static void add_prefix(struct pass *p, xmlNode *node)
{
    if (node->type != XML_ELEMENT_NODE) return;
    add_prefix(p, node->parent);
    if (is(node, "blockquote")) buf_append_text(&p->prefix, "> ");
    if (is(node, "dd")) buf_append_text(&p->prefix, "  ");
    if (node->name[0] == 'h' && node->name[1] >= '1' && node->name[1] <= '6' && !node->_private)
        buf_append_format(&p->prefix, "%.*s ", node->name[1] - '0', "######");
    if (is(node, "li")) {
        char bullet[BULLET_SIZE];
        bullet_of(p, node, bullet);
        buf_append_format(&p->prefix, "%*s", (int)strlen(bullet), node->_private ? "" : bullet);
    }
    node->_private = p;
}

/* Ends the line that stands in node. */
static void end_line(struct pass *p, xmlNode *node)
{
    buf_reset(&p->prefix);
    if (p->lines.visible) add_prefix(p, node);
    text_lines_end(&p->lines, &p->prefix);
}

/* A character beyond ASCII whose bytes are not for the text: a blank that does not break, which is
 * a blank here, and what has no width. Its length, or 0. */
static size_t odd_character(const char *text, size_t len, const char **shown)
{
    static const struct {
        const char *bytes, *shown;
    } ODD[] = {{"\xc2\xa0", " "}, {"\xc2\xad", ""}, {"\xe2\x80\x8b", ""}, {"\xef\xbb\xbf", ""}};
    for (size_t i = 0; i < sizeof ODD / sizeof ODD[0]; i++) {
        size_t n = strlen(ODD[i].bytes);
        *shown = ODD[i].shown;
        if (n <= len && memcmp(text, ODD[i].bytes, n) == 0) return n;
    }
    return 0;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f';
}

/* Text without tags, white space collapsed. */
static void put_text(struct pass *p, const char *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        const char *shown;
        size_t start = i, odd = odd_character(text + i, len - i, &shown);
        if (odd) {
            if (*shown) text_lines_put(&p->lines, shown, strlen(shown));
            i += odd;
        } else if (is_space(text[i])) {
            text_lines_blank(&p->lines, 1);
            i++;
        } else {
            do i++;
            while (i < len && !is_space(text[i]) && !odd_character(text + i, len - i, &shown));
            text_lines_put(&p->lines, text + start, i - start);
        }
    }
}

/* The same as it stands in <pre>, line by line. */
static void put_lines(struct pass *p, xmlNode *node, const char *text, size_t len)
{
    for (const char *end; (end = memchr(text, '\n', len));) {
        text_lines_put(&p->lines, text, (size_t)(end - text));
        end_line(p, node->parent);
        len -= (size_t)(end + 1 - text);
        text = end + 1;
    }
    if (len) text_lines_put(&p->lines, text, len);
}

static void take_text(struct pass *p, xmlNode *node, const char *text)
{
    size_t len = strlen(text);
    if (is(node->parent, "pre") && !node->prev && *text == '\n') text++, len--; /* means nothing */
    for (;;) {
        size_t at = len, word = 0;
        const struct template_tag *tag = tag_cover_find(&p->cover, text, len, &at, &word);
        if (p->pre)
            put_lines(p, node, text, at);
        else
            put_text(p, text, at);
        if (!tag) return;
        text_lines_tag(&p->lines, tag);
        text += at + word;
        len -= at + word;
    }
}

static void take_image(struct pass *p, xmlNode *node)
{
    char *alt = attribute(node, "alt");
    take_text(p, node, alt);
    xmlFree(alt);
}

static void begin_link(struct pass *p)
{
    p->link_at = p->lines.line.len;
    p->link_line = p->lines.ended;
}

static void trim(const char **text, size_t *len)
{
    while (*len && is_space(**text)) ++*text, --*len;
    while (*len && is_space((*text)[*len - 1])) --*len;
}

/* The target follows the text, unless it says the same. */
static void end_link(struct pass *p, xmlNode *node)
{
    char *href = attribute(node, "href");
    buf_reset(&p->target);
    tag_cover_show(&p->cover, href, strlen(href), &p->target);
    xmlFree(href);
    const char *target = buf_text(&p->target), *text = "";
    size_t target_len = p->target.len, text_len = 0;
    trim(&target, &target_len);
    if (p->link_line == p->lines.ended) {
        text = buf_text(&p->lines.line) + p->link_at;
        text_len = p->lines.line.len - p->link_at;
        trim(&text, &text_len);
    }
    bool same = text_len <= target_len && text_len &&
                memcmp(target + target_len - text_len, text, text_len) == 0 &&
                (text_len == target_len || target[target_len - text_len - 1] == ':');
    if (!target_len || *target == '#' || same) return;
    text_lines_blank(&p->lines, 1);
    text_lines_target(&p->lines, target, target_len, text_len > 0);
}

static void enter_inline(struct pass *p, xmlNode *node)
{
    if (is(node, "a")) begin_link(p);
    if (is(node, "img")) take_image(p, node);
    if (is(node, "td") || is(node, "th")) text_lines_blank(&p->lines, 2);
    if (!is(node, "br")) return;
    if (text_lines_is_empty(&p->lines)) text_lines_gap(&p->lines);
    end_line(p, node->parent);
}

static void enter_lines(struct pass *p, xmlNode *node, enum role role)
{
    end_line(p, node->parent);
    if (role == ROLE_BLOCK) text_lines_gap(&p->lines);
    if (is(node, "hr")) text_lines_put(&p->lines, "---", 3);
    if (is(node, "pre")) p->pre++;
}

/* Whether the node's children are to be passed too. */
static bool enter(struct pass *p, xmlNode *node)
{
    if (node->type == XML_TEXT_NODE) take_text(p, node, (const char *)node->content);
    if (node->type != XML_ELEMENT_NODE) return false;
    enum role role = role_of(node);
    if (role == ROLE_GONE) return false;
    if (role == ROLE_INLINE)
        enter_inline(p, node);
    else
        enter_lines(p, node, role);
    return true;
}

static void leave(struct pass *p, xmlNode *node)
{
    if (node->type != XML_ELEMENT_NODE) return;
    enum role role = role_of(node);
    if (role == ROLE_GONE) return;
    if (is(node, "a")) end_link(p, node);
    if (role == ROLE_INLINE) return;
    end_line(p, node);
    if (role == ROLE_BLOCK) text_lines_gap(&p->lines);
    if (is(node, "pre")) p->pre--;
}

static void pass_through(struct pass *p, xmlNode *root)
{
    xmlNode *node = root;
    while (node) {
        if (enter(p, node) && node->children) {
            node = node->children;
            continue;
        }
        leave(p, node);
        while (node != root && !node->next) leave(p, node = node->parent);
        node = node == root ? NULL : node->next;
    }
}

static struct err parse(struct pass *p, const struct template_source *source)
{
    enum {
        OPTIONS = HTML_PARSE_RECOVER | HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING |
                  HTML_PARSE_NONET | HTML_PARSE_NODEFDTD | HTML_PARSE_COMPACT
    };
    const struct buf *text = &p->cover.text;
    size_t blank = 0;
    while (blank < text->len && is_space(text->data[blank])) blank++;
    if (blank == text->len) return err_none();
    htmlParserCtxt *context = htmlNewParserCtxt();
    if (!context) abort();
    xmlDoc *doc = htmlCtxtReadMemory(context, text->data, (int)text->len, NULL, "UTF-8", OPTIONS);
    bool whole = doc && !context->disableSAX;
    if (whole && xmlDocGetRootElement(doc)) pass_through(p, xmlDocGetRootElement(doc));
    xmlFreeDoc(doc);
    htmlFreeParserCtxt(context);
    if (whole) return err_none();
    return err_make(ERR_CONFIG, 0,
                    "%s: no text can be made of this HTML: its elements are nested too deeply",
                    source->name);
}

struct err html_to_text(const struct template_source *source, struct buf *out)
{
    struct pass p = {0};
    text_lines_init(&p.lines, out);
    buf_init(&p.prefix, PREFIX_MAX);
    buf_init(&p.target, TEMPLATE_TEXT_MAX);
    struct err e = tag_cover_init(&p.cover, source, TAG_COVER_HTML);
    if (!e.code) e = parse(&p, source);
    if (!e.code) e = buf_check(out, source->name);
    tag_cover_fini(&p.cover);
    text_lines_fini(&p.lines);
    buf_fini(&p.prefix);
    buf_fini(&p.target);
    return e;
}
