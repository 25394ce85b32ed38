from archgraph.graph import GraphBuilder, Scale, Term
from archgraph.paths import iter_paths, rank_paths
from archgraph.paths.fold import MAX_NODES, Folding
from archgraph.paths.view import view
from archgraph.spec import load
from tests.strategies import residual_graph


def texts(spec, wrt, edges, kind="op", **params):
    """The texts of the paths that take none of these edges where there is a choice."""
    seen = view(load(spec, **params), kind, wrt)
    paths = rank_paths(seen.arrays, k=1, weight=dict.fromkeys(edges, 0))
    return Folding(seen).texts(paths)


def test_short_paths_are_written_out():
    graph = load("residual")
    seen = view(graph, "op", "x1")
    paths = list(iter_paths(seen.arrays))
    assert max(len(path.nodes) for path in paths) <= MAX_NODES
    assert Folding(seen).texts(paths) == [str(path) for path in paths]


def test_units_are_named_and_those_skipped_stand_in_brackets():
    assert texts("resnet", "x", []) == [
        "x → conv1 → bn1 → relu → maxpool → layer1.0…2 → layer2.0…3 → layer3.0…5 → layer4.0…2 → "
        "avgpool → flatten → fc → L"
    ]
    skipping = [f"layer{s}.bn3->layer{s}.out" for s in ("1.0", "3.1", "3.2", "3.4")]
    assert texts("resnet", "maxpool", skipping) == [
        "maxpool → (layer1.0) → layer1.1…2 → layer2.0…3 → layer3.0 → (layer3.1…2) → layer3.3 → "
        "(layer3.4) → layer3.5 → layer4.0…2 → avgpool → flatten → fc → L"
    ]


def test_of_a_unit_with_several_branches_those_taken_are_named():
    edges = ["h.1.mlp.drop->h.1.out", "h.2.mlp.drop->h.2.out", "h.3.attn.resid_dropout->h.3.mid"]
    assert texts("gpt2", "drop", edges, depth=5) == [
        "drop → h.0 → h.1…2[attn] → h.3[mlp] → h.4 → ln_f → lm_head → L"
    ]


def test_what_a_path_never_enters_is_left_out():
    block = "features.denseblock4.denselayer"
    past = [f"{block}{i}.input->{block}{i}.norm1" for i in (5, 6, 9)]
    assert texts("densenet", "features.transition3", past) == [
        f"features.transition3.pool → {block}1…denselayer4 → {block}7…denselayer8 → "
        f"{block}10…denselayer16 → features.norm5 → relu → avgpool → flatten → classifier → L"
    ]


def test_paths_that_would_look_alike_say_where_they_differ():
    seen = view(load("gpt2", depth=6), "op", "drop")
    paths = [p for p in rank_paths(seen.arrays, k=12) if p.branches == 12]
    found = Folding(seen).texts(paths)
    assert len(set(found)) == len(found) > 1
    assert all(text.startswith("drop → h.0…5 → ln_f → lm_head → L, by h.5") for text in found)


def test_a_graph_without_blocks_is_written_out():
    seen = view(residual_graph(20), "op", "x")
    (path,) = rank_paths(seen.arrays, k=1)
    assert Folding(seen).texts([path]) == [str(path)]


def test_parallel_edges_are_told_apart():
    b = GraphBuilder("parallel")
    b.input("x", (2,))
    b.layer("y", None, ["x", Term("x", Scale(2))])
    seen = view(b.build(), "op", "x")
    assert Folding(seen).texts(list(iter_paths(seen.arrays))) == [
        "x → y → L",
        "x → y → L, by x->y#1",
    ]
