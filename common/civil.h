/* The Gregorian calendar, for any year: days and dates without zones. Pure. */
#ifndef MAILFLOCK_CIVIL_H
#define MAILFLOCK_CIVIL_H

#include <stdbool.h>
#include <stdint.h>

enum { CIVIL_DAY_S = 86400 };

struct civil_date {
    int64_t year;
    int month, day; /* from 1 */
};

/* civil_days: days since 1970-01-01; a day past the month's end is one of the next month. */
int64_t civil_days(int64_t year, int month, int day);
struct civil_date civil_date(int64_t days);

/* civil_weekday: 0 = Sunday. */
int civil_weekday(int64_t days);

bool civil_is_leap(int64_t year);
int civil_month_days(int64_t year, int month);

/* civil_day_of: the day that holds a second, rounded down also before 1970. */
int64_t civil_day_of(int64_t seconds);

#endif
