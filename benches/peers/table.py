"""The figures as a Markdown table: one column per peer, and the ratio of the best peer to ours."""

# Figure, title, whether less is better.
ROWS = [
    ("listed", "start → list of tools", True),
    ("first_prediction", "start → first prediction", True),
    ("first_prediction_empty", "the same, our cache directory empty", True),
    ("round_trip_8", "a new text, 8 tokens", True),
    ("round_trip_32", "32 tokens", True),
    ("round_trip_128", "128 tokens", True),
    ("round_trip_480", "480 tokens", True),
    ("cached_p50", "a cached text, median", True),
    ("cached_p99", "99th percentile", True),
    ("cached_per_second", "cached, 64 in flight", False),
    ("distinct_per_second", "new texts of 32 tokens, 64 in flight", False),
    ("resident_at_first", "resident memory after the first prediction", True),
    ("resident_at_the_end", "at the end", True),
    ("same_label", "same label as ours", None),
    ("largest_difference", "largest difference of a confidence", None),
]


def table(figures):
    """`figures` is {peer: {figure: value}}, ours first."""
    ours, *others = figures
    lines = [
        f"| | **{ours}** | {' | '.join(others)} | ours to the best |",
        "|---" + "|--:" * (len(figures) + 1) + "|",
    ]
    for figure, title, less_is_better in ROWS:
        cells = [shown(figure, figures[name].get(figure)) for name in figures]
        if less_is_better is None:
            cells[0] = ""
        lines.append(f"| {title} | {' | '.join(cells)} | {times_better(figures, figure, less_is_better)} |")
    return "\n".join(lines)


def times_better(figures, figure, less_is_better):
    """Returns how many times better ours is than the best of the others; below 1 it is worse."""
    # A figure that only ours has is compared with the others' usual one.
    compared = "first_prediction" if figure == "first_prediction_empty" else figure
    ours, *others = figures
    mine, theirs = figures[ours].get(figure), [figures[name][compared] for name in others]
    if less_is_better is None or mine is None or not theirs:
        return ""
    times = min(theirs) / mine if less_is_better else mine / max(theirs)
    return f"{times:.0f} ×" if times >= 10 else f"{times:.2f} ×"


def shown(figure, value):
    if value is None:
        return ""
    if figure.endswith("per_second"):
        return f"{value:,.0f}/s"
    if figure.startswith("resident"):
        return f"{value:.0f} MB"
    if figure == "same_label":
        return f"{100 * value:.1f} %"
    if figure == "largest_difference":
        return f"{value:.2g}"
    return duration(value)


def duration(seconds):
    if seconds < 0.001:
        return f"{1e6 * seconds:.0f} µs"
    return f"{seconds:.1f} s" if seconds >= 2 else f"{1000 * seconds:.{1 if seconds < 0.1 else 0}f} ms"
