"""Kinematic trees of the joint layouts."""

import pytest

from edge.joints import LAYOUTS, PARENTS, ROOT, layout_of


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_layout_is_known_by_its_number_of_joints(layout):
    assert layout_of(len(LAYOUTS[layout])) == layout


def test_no_layout_has_other_numbers_of_joints():
    with pytest.raises(ValueError, match="21 joints were given; 20 or 25 are expected"):
        layout_of(21)


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_every_joint_leads_to_the_root(layout):
    names, parents = LAYOUTS[layout], PARENTS[layout]
    assert len(parents) == len(names) == len(set(names))
    assert [name for i, name in enumerate(names) if names[parents[i]] == name] == [ROOT]
    for joint in range(len(names)):
        path = [joint]
        while parents[path[-1]] != path[-1]:
            path.append(parents[path[-1]])
            assert len(path) <= len(names), f"{names[joint]} goes round in circles"
        assert names[path[-1]] == ROOT


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_the_tree_is_the_same_on_both_sides(layout):
    names, parents = LAYOUTS[layout], PARENTS[layout]
    parent = {name: names[parents[i]] for i, name in enumerate(names)}
    for name in names:
        if name.startswith("left_"):
            assert parent["right_" + name[5:]] == parent[name].replace("left_", "right_")


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_limbs_go_outwards(layout):
    names, parents = LAYOUTS[layout], PARENTS[layout]
    parent = {name: names[parents[i]] for i, name in enumerate(names)}
    for chain in (("hand", "wrist", "elbow", "shoulder"), ("foot", "ankle", "knee", "hip")):
        for i in range(3):
            assert parent[f"left_{chain[i]}"] == f"left_{chain[i + 1]}"
    assert parent["left_hip"] == ROOT and parent["spine"] == ROOT
