"""The tables of docs/results.md."""

import json
import shutil

import pytest

from hartx.errors import HartxError
from hartx.results import with_tables, write_results
from hartx.results_tables import paired_difference, public_command, read_sweeps

TEXT = """# Title

What the author wrote, 100 %.

<!-- results:accuracy skeleton fused -->
what was here before
<!-- /results:accuracy -->
Between.
<!-- results:missing -->
<!-- /results:missing -->
<!-- results:calibration skeleton -->
<!-- /results:calibration -->
![folds](results/skeleton-folds.png)
<!-- results:ablation -->
<!-- /results:ablation -->
The end.
"""


def spread(mean, std=0.01):
    return {"mean": mean, "std": std, "interval95": [mean - std, mean + std]}


def make_sweep(root, name, streams, seeds, missing=(), commit="0123456789abcdef", **more):
    folder = root / "sweeps" / name
    folder.mkdir(parents=True)
    mean = sum(seeds) / len(seeds)
    run = {
        "fold": "loso:1",
        "seed": 0,
        "error": None,
        "training_min": 4.0,
        "peak_memory_bytes": 2**30,
        "commit": commit,
        "workdir": "/secret",
    }
    sweep = {
        "protocol": "loso",
        "dataset": "utd_mhad",
        "streams": streams,
        "seeds": len(seeds),
        "commit": commit,
        "config": {"dataset": {"raw_dir": "/secret"}},
        "command": f"python -m hartx.sweep --config=configs/{name}.py --root=/secret --config.dataset.raw_dir=/secret",
        "runs": [run, run | {"error": "killed", "training_min": None, "peak_memory_bytes": None}],
    }
    before_after = {"ece_before": 0.05, "ece_after": 0.02, "nll_before": 0.3, "nll_after": 0.25}
    summary = {
        "clips": 432,
        "top1": spread(mean),
        "wilson95": [mean - 0.02, mean + 0.02],
        "f1_macro": spread(mean),
        "seeds": {str(seed): value for seed, value in enumerate(seeds)},
        "missing": [
            {"absent": [absent], "present": [s for s in streams if s != absent], "top1": spread(top1)}
            for absent, top1 in missing
        ],
        "calibration": {"folds": {"loso:1": before_after | {"temperature": 1.5}}}
        | {name: spread(value) for name, value in before_after.items()},
    }
    (folder / "sweep.json").write_text(json.dumps(sweep | more))
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "folds.png").write_bytes(b"\x89PNG of " + name.encode())


@pytest.fixture
def root(tmp_path):
    make_sweep(tmp_path, "skeleton", ["skeleton"], [0.95, 0.96])
    make_sweep(tmp_path, "fused", ["depth", "skeleton"], [0.98, 0.97], missing=[("depth", 0.94), ("skeleton", 0.8)])
    make_sweep(tmp_path, "ablation-2-better", ["skeleton"], [0.93, 0.91])
    make_sweep(tmp_path, "ablation-10-best", ["skeleton"], [0.99, 0.96])
    make_sweep(tmp_path, "ablation-1-plain", ["skeleton"], [0.9, 0.9])
    return tmp_path


@pytest.fixture
def document(root):
    path = root / "docs/results.md"
    path.parent.mkdir()
    path.write_text(TEXT)
    return path


def test_writing_twice_is_writing_once_and_the_text_stays(root, document):
    write_results(root, document)
    once = document.read_text()
    write_results(root, document)
    assert document.read_text() == once
    outside = [line for line in once.splitlines() if line and not line.startswith(("|", "- `"))]
    assert outside == [line for line in TEXT.splitlines() if line and line != "what was here before"]
    assert (root / "docs/results/skeleton-folds.png").read_bytes() == b"\x89PNG of skeleton"


def test_rows_stay_where_the_runs_are_gone_and_a_new_sweep_takes_its_name(root, document):
    write_results(root, document)
    once = document.read_text()
    shutil.rmtree(root / "sweeps")
    write_results(root, document)
    assert document.read_text() == once
    make_sweep(root, "skeleton", ["skeleton"], [0.97, 0.99, 0.98])
    write_results(root, document)
    first, second = rows(document.read_text(), "accuracy")
    assert first[5] == "98.00%" and second[0] == "`fused`"


def test_a_new_sweep_stands_where_its_name_belongs(root, document):
    document.write_text(TEXT.replace("results:accuracy skeleton fused", "results:accuracy"))
    write_results(root, document)
    make_sweep(root, "depth", ["depth"], [0.9])
    write_results(root, document)
    assert [row[0] for row in rows(document.read_text(), "accuracy")] == ["`depth`", "`fused`", "`skeleton`"]


def test_no_difference_has_no_minus_sign(root, document):
    make_sweep(root, "both", ["depth", "skeleton"], [0.9], missing=[("depth", 0.955 - 1e-9)])
    write_results(root, document)
    assert next(row for row in rows(document.read_text(), "missing") if row[0] == "`both`")[-1] == "+0.00"


def rows(text, table):
    block = text.split(f"<!-- results:{table}")[1].split("<!-- /results")[0]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in block.splitlines() if line.startswith("|")][2:]


def test_the_numbers_are_those_of_the_sweeps(root, document):
    write_results(root, document)
    text = document.read_text()
    first, second = rows(text, "accuracy")
    assert first[:7] == ["`skeleton`", "skeleton", "loso", "432", "2", "95.50%", "1.00%"]
    assert first[-3:] == ["4.0", "1.00 GiB", "01234567"] and second[0] == "`fused`"
    without_depth, without_skeleton = rows(text, "missing")
    assert without_depth == ["`fused`", "depth", "94.00%", "1.00%", "-3.50", "95.50% (`skeleton`)", "-1.50"]
    assert without_skeleton[-2:] == ["not run", "-"]
    assert rows(text, "calibration")[0] == ["`skeleton`", "loso:1", "1.500", "5.00%", "2.00%", "0.3000", "0.2500"]
    assert rows(text, "calibration")[1][1] == "all, pooled"


def test_an_ablation_is_in_the_order_of_its_numbers_with_differences(root, document):
    write_results(root, document)
    found = rows(document.read_text(), "ablation")
    assert [row[0] for row in found] == ["`ablation-1-plain`", "`ablation-2-better`", "`ablation-10-best`"]
    assert [row[4] for row in found] == ["-", "+2.00", "+5.50"]
    assert [row[5] for row in found] == ["-", "1.41", "0.71"]  # of 3 and 1; of 6 and 5


def test_changes_are_against_the_first_row(root, document):
    document.write_text(TEXT.replace("results:ablation", "results:changes"))
    write_results(root, document)
    found = rows(document.read_text(), "changes")
    assert [row[4] for row in found] == ["-", "+2.00", "+7.50"]


@pytest.mark.parametrize("table", ["ablation", "changes"])
def test_differences_say_which_commits_trained_each_row(root, document, table):
    document.write_text(TEXT.replace("results:ablation", f"results:{table}"))
    make_sweep(root, "ablation-3-later", ["skeleton"], [0.9], commit="fedcba9876543210+changes")
    write_results(root, document)
    found = {row[0]: row[-1] for row in rows(document.read_text(), table)}
    assert found["`ablation-1-plain`"] == "01234567" and found["`ablation-3-later`"] == "fedcba98+changes"


@pytest.mark.parametrize("name", ["--name={}", "--name {}"])
def test_commands_that_differ_by_their_names_alone_say_at_which_commit_each_was_given(root, document, name):
    same = "python -m hartx.sweep --config=configs/skeleton.py --seeds=2 " + name
    earlier = "python -m hartx.sweep " + name + " --seeds=2 --config=configs/skeleton.py --root=/secret"
    make_sweep(root, "ablation-3-now", ["skeleton"], [0.9], command=same.format("ablation-3-now"))
    make_sweep(
        root, "ablation-4-then", ["skeleton"], [0.9], commit="fedcba98", command=earlier.format("ablation-4-then")
    )
    write_results(root, document)
    ends = [line.rsplit("`", 1)[1] for line in document.read_text().splitlines() if line.startswith("- `ablation-")]
    assert ends == ["", "", ", given at commit 01234567", ", given at commit fedcba98", ""]


def test_only_seeds_of_both_are_compared():
    gain = paired_difference({"seeds": {"0": 0.5, "1": 0.6}}, {"seeds": {"1": 0.7, "2": 0.9}})
    assert gain == (pytest.approx(0.1), None)
    assert paired_difference({"seeds": {"0": 0.5}}, {"seeds": {"1": 0.7}}) is None


def test_no_path_of_a_machine_comes_into_the_document(root, document):
    write_results(root, document)
    assert "secret" not in document.read_text()
    kept = list((document.parent / "results/sweeps").rglob("*.json"))
    assert len(kept) == 10 and not any("secret" in path.read_text() for path in kept)
    assert public_command("python -m hartx.sweep --root /a --jobs=2 --seeds=5") == "python -m hartx.sweep --seeds=5"


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("skeleton fused", "skeleton inertial", "'inertial' is absent.*python -m hartx.sweep.*--name=inertial"),
        ("results:missing", "results:mising", "pairs"),
        ("results:missing -->", "results:mising -->", "did you mean 'missing'"),
        ("<!-- /results:ablation -->", "", "pairs"),
        ("skeleton-folds", "depth-folds", "'depth' is absent.*--name=depth"),
        ("results:missing -->\n<!-- /", "results:missing skeleton -->\n<!-- /", "has nothing for the table 'missing'"),
    ],
)
def test_what_is_absent_or_mistyped_is_an_error_and_nothing_is_written(root, document, old, new, message):
    text = TEXT.replace(old, new, 1 if "pairs" in message else -1)
    document.write_text(text)
    with pytest.raises(HartxError, match=message):
        write_results(root, document)
    assert document.read_text() == text


def test_a_root_that_is_not_there_is_an_error(tmp_path, document):
    with pytest.raises(HartxError, match="nowhere is no folder"):
        write_results(tmp_path / "nowhere", document)


def test_sweeps_over_another_dataset_are_no_baseline_and_do_not_get_into_a_table_unnamed(root, document):
    before = write_results(root, document) and rows(document.read_text(), "missing")
    make_sweep(root, "made-up", ["skeleton"], [0.999], dataset="synthetic_mhad")
    write_results(root, document)
    assert rows(document.read_text(), "missing") == before  # the table of accuracy names its sweeps
    document.write_text(TEXT.replace("results:accuracy skeleton fused", "results:accuracy"))
    with pytest.raises(HartxError, match="some over synthetic_mhad and utd_mhad, which do not belong together"):
        write_results(root, document)


def test_a_sweep_of_before_says_its_dataset_by_its_config(root):
    make_sweep(root, "old", ["skeleton"], [0.9])
    path = root / "sweeps/old/sweep.json"
    values = json.loads(path.read_text())
    del values["dataset"]
    values["config"]["dataset"]["name"] = "auto"
    path.write_text(json.dumps(values))
    assert read_sweeps(root)["old"].dataset == "utd_mhad"


def test_no_ablation_says_what_to_run(root):
    sweeps = {name: found for name, found in read_sweeps(root).items() if "ablation" not in name}
    with pytest.raises(HartxError, match="--name=ablation-"):
        with_tables(TEXT, sweeps)
