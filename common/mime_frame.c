/* The multiparts of a mail and its files. RFC 2045 section 6.7: a boundary with "=_" in it occurs
 * in neither encoding. The CRLF before a delimiter belongs to it, so every part keeps its own line
 * end (RFC 2046 section 5.1.1). One boundary is never the beginning of another. */
#include "common/mime_frame.h"

#include <stdio.h>
#include <strings.h>

#include "common/encode.h"

enum {
    HEAD_MAX = 64 << 10, /* bytes of a frame without files */
    FILES_MAX = 8 << 20, /* bytes of MESSAGE_FILES_MAX encoded, with headers */
    FILE_NAME_MAX = 255, /* bytes */
    BOUNDARY_SIZE = 32,
    TYPE_LINE = 60, /* a longer type gets a line of its own */
};

/* https://www.iana.org/assignments/media-types */
static const struct {
    const char *extension, *type;
} TYPES[] = {
    {"pdf", "application/pdf"},
    {"png", "image/png"},
    {"jpg", "image/jpeg"},
    {"jpeg", "image/jpeg"},
    {"gif", "image/gif"},
    {"webp", "image/webp"},
    {"svg", "image/svg+xml"},
    {"txt", "text/plain"},
    {"csv", "text/csv"},
    {"ics", "text/calendar"},
    {"vcf", "text/vcard"},
    {"html", "text/html"},
    {"md", "text/markdown"},
    {"json", "application/json"},
    {"xml", "application/xml"},
    {"zip", "application/zip"},
    {"docx", "application/vnd.openxmlformats-officedocument.wordprocessingml.document"},
    {"xlsx", "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"},
    {"pptx", "application/vnd.openxmlformats-officedocument.presentationml.presentation"},
    {"odt", "application/vnd.oasis.opendocument.text"},
    {"ods", "application/vnd.oasis.opendocument.spreadsheet"},
    {"hwp", "application/x-hwp"},
    {"mp3", "audio/mpeg"},
    {"mp4", "video/mp4"},
};

static const char *type_of(const char *name)
{
    const char *dot = strrchr(name, '.');
    for (size_t i = 0; dot && i < sizeof TYPES / sizeof TYPES[0]; i++)
        if (strcasecmp(dot + 1, TYPES[i].extension) == 0) return TYPES[i].type;
    return "application/octet-stream";
}

void mime_frame_init(struct mime_frame *f)
{
    buf_init(&f->head, HEAD_MAX);
    buf_init(&f->between, HEAD_MAX);
    buf_init(&f->end, HEAD_MAX);
    buf_init(&f->files, FILES_MAX);
}

void mime_frame_fini(struct mime_frame *f)
{
    buf_fini(&f->head);
    buf_fini(&f->between);
    buf_fini(&f->end);
    buf_fini(&f->files);
}

static const char *name_problem(const struct message_file *file)
{
    size_t len = strlen(file->name);
    if (len == 0 || len > FILE_NAME_MAX) return "its name must have 1 to 255 bytes";
    if (!encode_utf8_valid(file->name, len)) return "its name is not UTF-8";
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)file->name[i];
        if (c < ' ' || c == 0x7f || c == '/') return "its name holds a slash or control character";
    }
    return NULL;
}

/* An image's name is what cid: URLs name (RFC 2392). */
static const char *image_problem(const struct message_file *file)
{
    if (strncmp(type_of(file->name), "image/", 6) != 0)
        return "an image's name ends with .png, .jpg, .jpeg, .gif, .webp or .svg";
    if (strspn(file->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") !=
        strlen(file->name))
        return "an image's name has letters, digits, points, hyphens and underscores only";
    return NULL;
}

static struct err check_files(const struct message_spec *spec, size_t *images)
{
    size_t total = 0;
    *images = 0;
    for (size_t i = 0; i < spec->n_files; i++) {
        const struct message_file *file = &spec->files[i];
        const char *problem = name_problem(file);
        if (!problem && file->image) problem = image_problem(file);
        if (!problem && file->image && !spec->html) problem = "there is no HTML to show an image";
        for (size_t k = 0; k < i && !problem; k++)
            if (file->image == spec->files[k].image && strcmp(file->name, spec->files[k].name) == 0)
                problem = "there are two files of that name";
        if (problem) return err_make(ERR_CONFIG, 0, "the file %.80s: %s", file->name, problem);
        *images += file->image;
        total += file->len;
    }
    if (total <= MESSAGE_FILES_MAX) return err_none();
    return err_make(ERR_TOO_BIG, 0,
                    "images and attachments have %zu bytes together, at most %d go with a mail",
                    total, MESSAGE_FILES_MAX);
}

/* FNV-1a; its only use is that different contents have different boundaries. */
static uint64_t hash_text(uint64_t hash, const char *text)
{
    for (; text && *text; text++) hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

/* kind is a letter that is no hexadecimal digit. */
static const char *boundary(char out[BOUNDARY_SIZE], const struct message_spec *spec,
                            const char *kind)
{
    uint64_t hash = hash_text(hash_text(0xcbf29ce484222325u, spec->text), spec->html);
    snprintf(out, BOUNDARY_SIZE, "=_%s%016llx", kind, (unsigned long long)hash);
    return out;
}

static const char ALTERNATIVE[] = "", RELATED[] = "r", MIXED[] = "m";

/* Begins a multipart and its first part. */
static void begin(struct buf *out, const struct message_spec *spec, const char *kind,
                  const char *subtype)
{
    char text[BOUNDARY_SIZE];
    boundary(text, spec, kind);
    buf_append_format(out, "Content-Type: multipart/%s;\r\n boundary=\"%s\"\r\n\r\n--%s\r\n",
                      subtype, text, text);
}

static void delimit(struct buf *out, const struct message_spec *spec, const char *kind,
                    const char *after)
{
    char text[BOUNDARY_SIZE];
    buf_append_format(out, "\r\n--%s%s", boundary(text, spec, kind), after);
}

static void part_head(struct buf *out, const char *kind, const struct mime_part *p)
{
    buf_append_format(out, "Content-Type: text/%s; charset=UTF-8\r\n", kind);
    buf_append_format(out, "Content-Transfer-Encoding: %s\r\n\r\n", mime_part_encoding(p));
}

static void write_file(struct buf *out, const struct message_file *file)
{
    struct encode_base64 lines = {0};
    const char *type = type_of(file->name);
    bool utf8 = strncmp(type, "text/", 5) == 0 && encode_utf8_valid(file->bytes, file->len);
    buf_append_format(out, "Content-Type:%s %s%s\r\n", strlen(type) > TYPE_LINE ? "\r\n" : "", type,
                      utf8 ? "; charset=UTF-8" : "");
    buf_append_text(out, "Content-Transfer-Encoding: base64\r\n");
    if (file->image) buf_append_format(out, "Content-ID: <%s>\r\n", file->name);
    buf_append_format(out, "Content-Disposition: %s", file->image ? "inline" : "attachment");
    encode_parameter("filename", file->name, strlen(file->name), out);
    buf_append_text(out, "\r\n\r\n");
    encode_base64(&lines, file->bytes, file->len, out);
    encode_base64_end(&lines, out);
}

static void write_files(struct mime_frame *f, const struct message_spec *spec, bool images,
                        const char *kind)
{
    bool any = false;
    for (size_t i = 0; i < spec->n_files; i++) {
        if (spec->files[i].image != images) continue;
        delimit(&f->files, spec, kind, "\r\n");
        write_file(&f->files, &spec->files[i]);
        any = true;
    }
    if (any) delimit(&f->files, spec, kind, "--");
}

struct err mime_frame_write(struct mime_frame *f, const struct message_spec *spec,
                            const struct mime_part *text, const struct mime_part *html)
{
    size_t images;
    bool both = text && html;
    TRY(check_files(spec, &images));
    if (images < spec->n_files) begin(&f->head, spec, MIXED, "mixed");
    if (images)
        begin(&f->head, spec, RELATED,
              both ? "related; type=\"multipart/alternative\"" : "related; type=\"text/html\"");
    if (both) begin(&f->head, spec, ALTERNATIVE, "alternative");
    part_head(&f->head, text ? "plain" : "html", text ? text : html);
    if (both) {
        delimit(&f->between, spec, ALTERNATIVE, "\r\n");
        part_head(&f->between, "html", html);
        delimit(&f->end, spec, ALTERNATIVE, spec->n_files ? "--" : "--\r\n");
    }
    write_files(f, spec, true, RELATED);
    write_files(f, spec, false, MIXED);
    if (f->files.len) buf_append_text(&f->files, "\r\n");
    return buf_check(&f->files, "the files of a mail");
}
