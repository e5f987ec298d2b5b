/* A CSV file, row by row, in memory that does not grow with it. */
#ifndef MAILFLOCK_CONSOLE_CSV_FILE_H
#define MAILFLOCK_CONSOLE_CSV_FILE_H

#include "common/err.h"
#include "console/csv.h"

struct csv_file;

/* csv_file_open: path "-" is standard input. ERR_IO where the file cannot be opened. */
struct err csv_file_open(struct csv_file **out, const char *path, char separator) MUST_CHECK;
void csv_file_close(struct csv_file *f);

/* csv_file_separator: what an option says, "tab" or one of , ; |; NULL: a comma. False: it is none.
 */
bool csv_file_separator(const char *option, char *out);

/* csv_file_next: *result is CSV_ROW, CSV_BAD or CSV_END. ERR_IO where reading fails. */
struct err csv_file_next(struct csv_file *f, enum csv_result *result) MUST_CHECK;

/* csv_file_row: borrows what the last csv_file_next found. */
const struct csv *csv_file_row(const struct csv_file *f);

/* csv_file_name: borrows the path, for messages; "standard input" for "-". */
const char *csv_file_name(const struct csv_file *f);

/* csv_file_complain: says on stderr what is wrong with the row that begins in that line; of the
 * last row also where it ends. */
void csv_file_complain(const struct csv_file *f, uint64_t line, const char *problem);

#endif
