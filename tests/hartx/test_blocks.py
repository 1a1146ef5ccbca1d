"""Tables in documents."""

from hartx.blocks import markdown_table


def test_columns_are_set_to_the_left_and_then_to_the_right():
    rows = iter([("`a`", "x", "1"), ("`b`", "y", "2")])
    assert markdown_table(("run", "side", "clips"), rows, left=2) == (
        "| run | side | clips |\n| --- | --- | ---: |\n| `a` | x | 1 |\n| `b` | y | 2 |\n"
    )
    assert markdown_table(("run", "clips"), []) == "| run | clips |\n| --- | ---: |\n"
