"""Figures of several measurements: medians with the least and the most, and the table of them."""

import statistics


class Figure:
    """One line of the table. budget: (">=" or "<=", number), held against the median."""

    def __init__(self, label, values, unit, budget=None, note=""):
        self.label, self.unit, self.budget, self.note = label, unit, budget, note
        self.values = [float(v) for v in values]

    @property
    def median(self):
        return statistics.median(self.values)

    @property
    def met(self):
        if not self.budget:
            return None
        sign, bound = self.budget
        return self.median >= bound if sign == ">=" else self.median <= bound

    def as_json(self):
        return {"label": self.label, "unit": self.unit, "median": self.median,
                "min": min(self.values), "max": max(self.values), "values": self.values,
                "budget": " ".join(map(str, self.budget)) if self.budget else None,
                "met": self.met, "note": self.note}


def ratios(label, above, below, budget=None, note=""):
    """The ratios of pairs."""
    return Figure(label, [a / b for a, b in zip(above, below)], "x", budget, note)


def number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 10 else f"{value:.1f}"


def line(figure):
    spread = f"{number(min(figure.values))} .. {number(max(figure.values))}"
    text = f"  {figure.label:<50}{number(figure.median):>10} {figure.unit:<9} {spread:>18}"
    if figure.budget:
        verdict = "met" if figure.met else "MISSED"
        text += f"  {figure.budget[0]} {figure.budget[1]:g} {verdict}"
    if figure.note:
        text += f"  {figure.note}"
    return text
