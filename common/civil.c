/* The Gregorian calendar. Years are counted from March here, so that a leap day is their last. */
#include "common/civil.h"

enum { ERA_DAYS = 146097, ERA_YEARS = 400, DAYS_TO_1970 = 719468 };

static int64_t divide_down(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

int64_t civil_day_of(int64_t seconds)
{
    return divide_down(seconds, CIVIL_DAY_S);
}

int64_t civil_days(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = divide_down(y, ERA_YEARS);
    int64_t of_era = y - era * ERA_YEARS;
    int64_t of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + of_year - DAYS_TO_1970;
}

struct civil_date civil_date(int64_t days)
{
    int64_t z = days + DAYS_TO_1970;
    int64_t era = divide_down(z, ERA_DAYS);
    int64_t of_era = z - era * ERA_DAYS;
    int64_t year = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int of_year = (int)(of_era - (365 * year + year / 4 - year / 100));
    int month = (5 * of_year + 2) / 153;
    struct civil_date d = {.day = of_year - (153 * month + 2) / 5 + 1,
                           .month = month < 10 ? month + 3 : month - 9};
    d.year = year + era * ERA_YEARS + (d.month <= 2);
    return d;
}

int civil_weekday(int64_t days)
{
    return (int)(days + 4 - divide_down(days + 4, 7) * 7);
}

bool civil_is_leap(int64_t year)
{
    return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
}

int civil_month_days(int64_t year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && civil_is_leap(year));
}
