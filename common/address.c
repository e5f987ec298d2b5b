/* Addresses. What passes here goes unquoted into SMTP commands and headers, so everything that
 * could end a command, a header or an address is refused rather than repaired. */
#include "common/address.h"

#include <string.h>

#include "common/encode.h"
#include "common/idn.h"

static bool is_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

static const char *bad_byte(char c)
{
    unsigned char u = (unsigned char)c;
    if (u == '\r' || u == '\n') return "the address holds a line break";
    if (u == '\0') return "the address holds a NUL byte";
    if (u < ' ' || u == 0x7f) return "the address holds a control character";
    if (u == ' ') return "the address holds a space";
    if (u == '<' || u == '>') return "the address holds < or >";
    return NULL;
}

static const char *local_check(const char *local, size_t len)
{
    if (len == 0) return "the address has nothing before the @";
    if (len > ADDRESS_LOCAL_MAX) return "the address has more than 64 bytes before the @";
    if (local[0] == '"') return "the address has a quoted part before the @; not supported";
    for (size_t i = 0; i < len; i++) {
        bool ascii = !((unsigned char)local[i] & 0x80);
        if (ascii && !is_alnum(local[i]) && !strchr(".!#$%&'*+-/=?^_`{|}~", local[i]))
            return "the address has a character before the @ that must not stand there";
    }
    return NULL;
}

static const char *label_check(const char *label, size_t len)
{
    if (len == 0) return "the domain has an empty label (two dots, or one at an end)";
    if (len > ADDRESS_LABEL_MAX) return "the domain has a label of more than 63 bytes";
    if (label[0] == '-' || label[len - 1] == '-')
        return "the domain has a label with a hyphen at an end";
    for (size_t i = 0; i < len; i++) {
        if (!is_alnum(label[i]) && label[i] != '-' && label[i] != '_')
            return "the domain has a character other than letters, digits and hyphens";
    }
    return NULL;
}

const char *address_domain_check(const char *domain, size_t len)
{
    if (len == 0) return "the address has no domain";
    if (len > 255) return "the domain has more than 255 bytes";
    if (domain[0] == '[') return "the domain is an address literal; not supported";
    for (;;) {
        const char *dot = memchr(domain, '.', len);
        size_t label = dot ? (size_t)(dot - domain) : len;
        const char *problem = label_check(domain, label);
        if (problem || !dot) return problem;
        domain += label + 1;
        len -= label + 1;
    }
}

/* The bytes beyond ASCII: RFC 6532 section 3.1 wants UTF-8; U+0080 to U+009F are controls. */
static const char *utf8_check(const char *address, size_t len)
{
    if (!encode_utf8_valid(address, len)) return "the address is not valid UTF-8";
    for (size_t i = 0; i + 1 < len; i++) {
        if ((unsigned char)address[i] == 0xc2 && (unsigned char)address[i + 1] < 0xa0)
            return "the address holds a control character";
    }
    return NULL;
}

static const char *bytes_check(const char *address, size_t len)
{
    unsigned char all = 0;
    if (len == 0) return "the address is empty";
    for (size_t i = 0; i < len; i++) {
        const char *problem = bad_byte(address[i]);
        if (problem) return problem;
        all |= (unsigned char)address[i];
    }
    return all & 0x80 ? utf8_check(address, len) : NULL;
}

const char *address_check(const char *address, size_t len)
{
    const char *problem = bytes_check(address, len);
    if (problem) return problem;
    const char *at = memrchr(address, '@', len);
    if (!at) return "the address has no @";
    size_t local = (size_t)(at - address);
    if (address[0] != '"' && memchr(address, '@', local)) return "the address has more than one @";
    problem = local_check(address, local);
    if (!problem) problem = address_domain_check(at + 1, len - local - 1);
    if (!problem && len > ADDRESS_MAX) problem = "the address has more than 254 bytes";
    return problem;
}

bool address_is_utf8(const char *address, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)address[i] & 0x80) return true;
    return false;
}

const char *address_prepare(const char **address, size_t *len, char room[ADDRESS_MAX + 1])
{
    char domain[IDN_DOMAIN_MAX + 1];
    const char *at = memrchr(*address, '@', *len);
    size_t local = at ? (size_t)(at + 1 - *address) : *len; /* with its @ */
    if (!address_is_utf8(*address + local, *len - local)) return address_check(*address, *len);
    const char *problem = bytes_check(*address, *len);
    if (!problem) problem = idn_to_ascii(at + 1, *len - local, domain);
    if (problem) return problem;
    if (local + strlen(domain) > ADDRESS_MAX) return "the address has more than 254 bytes";
    memcpy(room, *address, local);
    memcpy(room + local, domain, strlen(domain) + 1);
    *address = room;
    *len = local + strlen(domain);
    return address_check(*address, *len);
}

void address_fold(const char *address, size_t len, char *out)
{
    for (size_t i = 0; i < len; i++) {
        char c = address[i];
        out[i] = c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
    }
}

static const char *trim(const char *text, size_t *len)
{
    while (*len && *text == ' ') text++, --*len;
    while (*len && text[*len - 1] == ' ') --*len;
    return text;
}

/* Copies a display name, undoing its quotes; a reason where that cannot be. */
static const char *name_copy(const char *name, size_t len, char out[MAILBOX_NAME_MAX + 1])
{
    bool quoted = len && name[0] == '"';
    size_t n = 0, i = quoted ? 1 : 0;
    for (; i < len && name[i] != '"'; i++) {
        if (quoted && name[i] == '\\' && ++i == len) break;
        if (n == MAILBOX_NAME_MAX) return "the name has more than 200 bytes";
        out[n++] = name[i];
    }
    if (quoted ? i + 1 != len : i != len) return "the name has a quote that is open or inside it";
    const char *from = trim(out, &n);
    memmove(out, from, n);
    out[n] = '\0';
    return NULL;
}

static const char *mailbox_split(const char *text, size_t len, struct mailbox *out)
{
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f) return "it holds a control character";
    }
    if (!encode_utf8_valid(text, len)) return "it is not valid UTF-8";
    text = trim(text, &len);
    const char *address = text, *problem = NULL;
    char room[ADDRESS_MAX + 1];
    size_t address_len = len;
    out->name[0] = '\0';
    if (len && text[len - 1] == '>') {
        const char *open = memrchr(text, '<', len);
        if (!open) return "it has > without <";
        size_t name_len = (size_t)(open - text);
        address = open + 1;
        address_len = len - name_len - 2;
        text = trim(text, &name_len);
        problem = name_copy(text, name_len, out->name);
    }
    if (!problem) problem = address_prepare(&address, &address_len, room);
    if (problem) return problem;
    memcpy(out->address, address, address_len);
    out->address[address_len] = '\0';
    return NULL;
}

struct err mailbox_parse(const char *text, size_t len, struct mailbox *out)
{
    const char *problem = mailbox_split(text, len, out);
    if (!problem) return err_none();
    return err_make(ERR_CONFIG, 0, "%.*s is no mailbox: %s; write Name <local@domain>",
                    (int)(len < 100 ? len : 100), text, problem);
}
