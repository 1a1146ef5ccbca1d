"""Kinematic trees of the joint layouts."""

import itertools

import pytest

from edge.joints import LAYOUTS, PARENTS, ROOT


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_joint_leads_to_the_root(layout):
    names, parents = LAYOUTS[layout], PARENTS[layout]
    assert len(parents) == len(names) == len(set(names))
    assert [name for name, parent in zip(names, parents, strict=True) if names[parent] == name] == [ROOT]
    for joint in range(len(names)):
        path = [joint]
        while parents[path[-1]] != path[-1]:
            path.append(parents[path[-1]])
            assert len(path) <= len(names), f"{names[joint]} goes round in circles"
        assert names[path[-1]] == ROOT


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_tree_is_the_same_on_both_sides(layout):
    names, parents = LAYOUTS[layout], PARENTS[layout]
    parent = {name: names[index] for name, index in zip(names, parents, strict=True)}
    for name in names:
        if name.startswith("left_"):
            assert parent["right_" + name[5:]] == parent[name].replace("left_", "right_")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_limbs_go_outwards(layout):
    names, parents = LAYOUTS[layout], PARENTS[layout]
    parent = {name: names[index] for name, index in zip(names, parents, strict=True)}
    for chain in (("hand", "wrist", "elbow", "shoulder"), ("foot", "ankle", "knee", "hip")):
        for joint, nearer in itertools.pairwise(chain):
            assert parent[f"left_{joint}"] == f"left_{nearer}"
    assert parent["left_hip"] == ROOT and parent["spine"] == ROOT
