"""A row is one kind of work: what each peer did, and what was to be reached."""
import re, statistics


def row(work, unit, bastion, sshd=None, kubectl=None, goals=(), against=None, own=None):
    """Samples become their medians. A goal is a text such as "≤ 0.3 × sshd", "≥ 1 × kubectl exec" or "≤ 128": of the ratio
    to a peer, or of our figure. "× exec" is against `own`, another figure of ours. `against` is a ratio without a goal."""
    middle = {"bastion": bastion, "sshd": sshd, "kubectl exec": kubectl, "exec": own}
    middle = {peer: statistics.median(figure) if isinstance(figure, list) else figure for peer, figure in middle.items()}
    goals = [judge(goal, middle) for goal in goals]
    ratios = {peer: middle["bastion"] / middle[peer] for peer in [goal["against"] for goal in goals] + [against] if peer}
    return {"work": work, "unit": unit, **middle, "ratios": ratios, "goals": goals}


def judge(goal, middle):
    sign, limit, peer = re.fullmatch(r"([≤≥]) ([\d.]+)(?: × (.+))?", goal).groups()
    figure = middle["bastion"] / (middle[peer] if peer else 1)
    reached = figure <= float(limit) if sign == "≤" else figure >= float(limit)
    return {"goal": f"{sign} {limit}", "against": peer, "reached": reached}


def cells(row):
    unit = f" {row['unit']}".rstrip()
    figures = ["" if row[peer] is None else short(row[peer]) + unit for peer in ("bastion", "sshd", "kubectl exec")]
    ratios = ", ".join(f"{ratio:.2f} × {peer}" for peer, ratio in row["ratios"].items())
    goals = [goal["goal"] + ("" if goal["against"] else unit) + ("" if goal["reached"] else " **missed**") for goal in row["goals"]]
    return [row["work"], *figures, ratios, ", ".join(goals)]


def table(rows):
    head = "| work | bastion | sshd, no pod | kubectl exec | ratio | goal |\n|---|---|---|---|---|---|"
    return "\n".join([head, *(f"| {' | '.join(cells(row))} |" for row in rows)])


def short(number):
    return f"{number:,.0f}" if number >= 10 or number == int(number) else f"{number:.2f}"
