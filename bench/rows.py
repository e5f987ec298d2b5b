"""The rows of the benchmark by name: each takes a plan and answers a Result. And their summary."""

import rows_itself
import rows_others
import rows_pressure
import rows_relay
import rows_template
from plan import ROWS as NAMES

PLACES = (rows_others, rows_relay, rows_itself, rows_template,
          rows_pressure)
ROWS = {name: next(getattr(place, name) for place in PLACES if hasattr(place, name))
        for name in NAMES}


def median_of(results, row, label):
    """The median of a line, or None where the row was not measured."""
    for line in results[row].lines if row in results else ():
        if line.label == label:
            return line.median
    return None


def most_of(results, label_end):
    """The greatest value of all lines in row cost that end so."""
    found = [max(line.values) for line in results["cost"].lines
             if line.label.endswith(label_end)] if "cost" in results else []
    return max(found, default=None)


def summary(results):
    """What the last line says: name -> value or None."""
    return {
        "whole_vs_smtp_source": median_of(results, "whole",
                                          "mailflock over smtp-source, both by wall clock"),
        "whole_vs_node": median_of(results, "node", "mailflock over node"),
        "cpu_us_per_mail": median_of(results, "whole", "mailflock: CPU of consumers"),
        "rtt_efficiency": median_of(results, "rtt", "mailflock, by the relay's clock"),
        "consumer_mib": most_of(results, "memory of the consumer"),
        "producer_mib": most_of(results, "memory of the producer"),
        "million_over_10k": median_of(
            results, "cost", "1,000,000 over 10,000: CPU of producer and consumer"),
        "first_mail_ms": median_of(results, "first", "relay that answers at once"),
    }
