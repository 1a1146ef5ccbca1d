"""Flags in either spelling, and values of the command line."""

from __future__ import annotations

import argparse

import pytest

from edge.arguments import CommandParser, cpu_list, points, positive_float, positive_int


def parser() -> CommandParser:
    made = CommandParser(prog="x")
    made.add_argument("clips", nargs="*")
    made.add_argument("--dry_run", action="store_true")
    made.add_argument("--frame-rate", type=float)
    return made


@pytest.mark.parametrize("parse", ["parse_args", "parse_intermixed_args"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["--dry_run", "--frame-rate=2", "a_b-c"],
        ["--dry-run", "a_b-c", "--frame_rate", "2"],
        ["--dry-r", "--frame_r=2", "--", "a_b-c"],
    ],
)
def test_either_spelling_is_the_same_flag(parse, arguments):
    found = getattr(parser(), parse)(arguments)
    assert vars(found) == {"clips": ["a_b-c"], "dry_run": True, "frame_rate": 2.0}


def test_the_arguments_of_the_process_are_read_alike(monkeypatch):
    monkeypatch.setattr("sys.argv", ["x", "--dry-run"])
    assert parser().parse_args().dry_run


def test_what_is_no_flag_stays_as_it_was_given():
    assert parser().parse_args(["--", "--dry-run", "a-b=c_d"]).clips == ["--dry-run", "a-b=c_d"]


def test_help_shows_one_spelling_and_an_unknown_flag_is_named_as_it_was_given(capsys):
    assert "--dry_run" in parser().format_help() and "--dry-run" not in parser().format_help()
    with pytest.raises(SystemExit):
        parser().parse_args(["--wet-run_s=2"])
    assert "unrecognized arguments: --wet-run_s=2" in capsys.readouterr().err


@pytest.mark.parametrize(
    "kind, text, value",
    [
        (positive_int, "12", 12),
        (positive_float, "2.5", 2.5),
        (points, "0", 0.0),
        (points, "100", 100.0),
        (cpu_list, "0-2,6", (0, 1, 2, 6)),
    ],
)
def test_values(kind, text, value):
    assert kind(text) == value


@pytest.mark.parametrize(
    "kind, texts, expected",
    [
        (positive_int, ("0", "-1", "1.5", "many", ""), "a whole number from 1 is expected"),
        (positive_float, ("0", "-1", "inf", "nan", "fast", ""), "a number above 0 is expected"),
        (points, ("-0.1", "100.5", "nan", "much"), "points from 0 to 100 are expected"),
        (cpu_list, ("all", "-1", "1-b", "1,,2"), "CPUs like 0-3,6 are expected"),
    ],
)
def test_other_values_are_refused_with_what_is_expected(kind, texts, expected):
    for text in texts:
        with pytest.raises(argparse.ArgumentTypeError, match=f"^{text!r} was given; {expected}$"):
            kind(text)
