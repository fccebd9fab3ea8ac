"""Measures starts, round trips, rates and memory of all peers, in turns, so that noise affects all."""

import json
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from time import perf_counter

from client import Server, resident_mb

TOKENS = (8, 32, 128, 480)
IN_FLIGHT = 64
# Before each turn: thread pools spin for a while after a run and would take the next peer's time.
REST_SECONDS = 0.2


@dataclass
class Peer:
    name: str
    command: list
    weights: str
    tool: str = "predict"
    env: dict = field(default_factory=dict)
    service: object = None  # the backend of the process started here
    cache_dir: str | None = None

    def start(self, cache_dir=None):
        keep = [f"--cache-dir={cache_dir or self.cache_dir}"] if self.cache_dir else []
        return Server([*self.command, *keep], self.tool, self.env)

    def resident_mb(self, server):
        return resident_mb(server.process.pid, *([self.service.pid] if self.service else []))


@dataclass
class Plan:
    """Numbers of repetitions, the same for every peer."""

    starts: int = 7
    turns: int = 8
    calls_a_turn: dict = field(default_factory=lambda: {8: 25, 32: 25, 128: 15, 480: 8})
    cached_calls_a_turn: int = 500
    rates: int = 5
    cached_in_flight: int = 5_000
    distinct_in_flight: int = 320


QUICK = Plan(2, 2, {8: 10, 32: 10, 128: 6, 480: 4}, 200, 1, 1_000, 128)


class Texts:
    """Distinct texts of random words that are one token each, the same in every run."""

    def __init__(self, folder):
        model = json.loads((folder / "tokenizer.json").read_text())["model"]
        if model["type"] != "WordPiece":
            raise SystemExit(f"{folder}: the texts are made of WordPiece words; this tokenizer is {model['type']}")
        self.words = sorted(w for w in model["vocab"] if w.isascii() and w.isalpha() and w.islower() and len(w) > 2)
        self.random, self.seen = random.Random(1), set()

    def take(self, tokens, count):
        """Texts of `tokens` tokens, including the two special ones."""
        taken = []
        while len(taken) < count:
            text = " ".join(self.random.choices(self.words, k=tokens - 2))
            if text not in self.seen:
                self.seen.add(text)
                taken.append(text)
        return taken


def measure(peers, texts, plan, say):
    """Returns {peer: {figure: value}}, in seconds, calls per second and MB."""
    figures = {peer.name: {} for peer in peers}
    starts(peers, texts, plan, figures, say)
    with ExitStack() as running:
        servers = {peer.name: running.enter_context(peer.start()) for peer in peers}
        for server in servers.values():
            server.open()
            for tokens in TOKENS:
                server.prediction(server.round_trip(server.call(f"{tokens} warm up" + " word" * (tokens - 5))))
        labels = {name: {} for name in servers}
        round_trips(servers, texts, plan, figures, labels, say)
        cached(servers, plan, figures, say)
        throughput(servers, texts, plan, figures, labels, say)
        for peer in peers:
            figures[peer.name]["resident_at_the_end"] = peer.resident_mb(servers[peer.name])
    ours = next(iter(labels))
    for name, found in labels.items():
        same = sum(found[text][0] == labels[ours][text][0] for text in found)
        figures[name]["same_label"] = same / len(found)
        figures[name]["largest_difference"] = max(abs(found[text][1] - labels[ours][text][1]) for text in found)
    return figures


def in_turn(servers, turn):
    """Yields each server after a pause, in an order that changes with each turn."""
    names = list(servers)
    for at in range(len(names)):
        name = names[(turn + at) % len(names)]
        time.sleep(REST_SECONDS)
        yield name, servers[name]


def starts(peers, texts, plan, figures, say):
    """Start to the list of tools, and on to the first prediction, one process at a time.

    A first start of each is not counted: it reads the files into memory, compiles Python's modules and fills our cache
    directory. Ours is then also started with an empty one.
    """
    cases = [(peer, False) for peer in peers] + [(peer, True) for peer in peers if peer.cache_dir]
    seen = {(peer.name, empty): [] for peer, empty in cases}
    for number in range(plan.starts + 1):
        for peer, empty in cases:
            say(f"start {number} of {plan.starts}: {peer.name}")
            time.sleep(REST_SECONDS)
            [text] = texts.take(8, 1)
            with tempfile.TemporaryDirectory() as fresh, peer.start(fresh if empty else None) as server:
                server.open()
                listed = perf_counter() - server.started
                answer = server.round_trip(server.call(text))
                predicted = perf_counter() - server.started
                server.prediction(answer)
                if number > 0:
                    seen[peer.name, empty].append((listed, predicted, peer.resident_mb(server)))
    for (name, empty), rows in seen.items():
        listed, predicted, resident = map(statistics.median, zip(*rows))
        if empty:
            figures[name]["first_prediction_empty"] = predicted
        else:
            figures[name] |= {"listed": listed, "first_prediction": predicted, "resident_at_first": resident}


def round_trips(servers, texts, plan, figures, labels, say):
    """Times one caller with new texts only."""
    for tokens in TOKENS:
        seconds = {name: [] for name in servers}
        for turn in range(plan.turns):
            say(f"round trips at {tokens} tokens: turn {turn + 1} of {plan.turns}")
            same = texts.take(tokens, 1 + plan.calls_a_turn[tokens])
            for name, server in in_turn(servers, turn):
                timed = [server.timed(line) for line in [server.call(text) for text in same]]
                # The first call wakes the peer after the pause.
                seconds[name] += [taken for taken, _ in timed[1:]]
                labels[name] |= {text: server.prediction(answer)[1:] for text, (_, answer) in zip(same, timed)}
        for name, taken in seconds.items():
            figures[name][f"round_trip_{tokens}"] = statistics.median(taken)


def cached(servers, plan, figures, say):
    """Times one repeated text: one caller, then many calls in flight."""
    seconds = {name: [] for name in servers}
    for turn in range(plan.turns):
        say(f"cached round trips: turn {turn + 1} of {plan.turns}")
        for name, server in in_turn(servers, turn):
            line = server.call("the same text again and again")
            timed = [server.timed(line) for _ in range(1 + plan.cached_calls_a_turn)]
            for _, answer in timed:
                server.prediction(answer)
            seconds[name] += [taken for taken, _ in timed[1:]]
    for name, taken in seconds.items():
        taken.sort()
        figures[name]["cached_p50"] = statistics.median(taken)
        figures[name]["cached_p99"] = taken[len(taken) * 99 // 100]

    def lines(server, _):
        return [server.call("the same text again and again", n) for n in range(plan.cached_in_flight)]

    rate(servers, plan, figures, "cached_per_second", lines, say)


def throughput(servers, texts, plan, figures, labels, say):
    """Measures many calls in flight with new texts only."""
    same = [texts.take(32, plan.distinct_in_flight) for _ in range(plan.rates)]

    def lines(server, turn):
        return [server.call(text, number) for number, text in enumerate(same[turn])]

    answers = rate(servers, plan, figures, "distinct_per_second", lines, say)
    for name, turn, number, *found in answers:
        labels[name][same[turn][number]] = found


def rate(servers, plan, figures, figure, lines, say):
    """Returns calls per second with many in flight, the median of the turns, and all answers."""
    rates, found = {name: [] for name in servers}, []
    for turn in range(plan.rates):
        say(f"{figure.replace('_', ' ')}: turn {turn + 1} of {plan.rates}")
        for name, server in in_turn(servers, turn):
            calls = lines(server, turn)
            seconds, answers = server.in_flight(calls, IN_FLIGHT)
            rates[name].append(len(calls) / seconds)
            answers = [server.prediction(answer) for answer in answers]
            if {number for number, *_ in answers} != set(range(len(calls))):
                server.fail("not every call was answered once")
            found += [(name, turn, *answer) for answer in answers]
    for name, seen in rates.items():
        figures[name][figure] = statistics.median(seen)
    return found
