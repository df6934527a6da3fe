"""Every family of operators, counted by hand."""

from math import sqrt

import pytest
import torch
from torch import nn
from torch.nn import functional

from neuro.energy import Counts, count_module, layer_norm
from neuro.energy.operators.operator_rules import FREE, RULES
from neuro.energy.operators.reduction_rules import adaptive, sliding

MOVED = ("weight_reads", "state_reads", "state_writes", "activation_reads", "activation_writes")


class Formula(nn.Module):
    """A function as a module."""

    def __init__(self, function, **parameters):
        super().__init__()
        self.function = function
        for name, value in parameters.items():
            self.register_parameter(name, nn.Parameter(value))

    def forward(self, *inputs):
        return self.function(self, *inputs)


def arithmetic(function, *inputs, **options):
    """Return the counts of a function of tensors, movement left out."""
    module = Formula(lambda _, *given: function(*given)).eval()
    return still(count_module(module, *inputs, **options).total)


def still(counts):
    return {name: each for name, each in counts.to_json().items() if name not in MOVED}


X = torch.linspace(-2, 2, 24).reshape(2, 3, 4)
Y = torch.linspace(1, 3, 24).reshape(2, 3, 4)

ELEMENTWISE = [
    (lambda x, y: x + y, {"additions": 24}),
    (lambda x, y: torch.add(x, y, alpha=2), {"additions": 24, "multiplications": 24}),
    (lambda x, y: 1 - x, {"additions": 24}),
    (lambda x, y: x * y, {"multiplications": 24}),
    (lambda x, y: x / 3, {"multiplications": 24}),
    (lambda x, y: x / y, {"multiplications": 24, "functions": 24}),
    (lambda x, y: x / y[:, :1], {"multiplications": 24, "functions": 8}),
    (lambda x, y: x**2, {"multiplications": 24}),
    (lambda x, y: x**3, {"multiplications": 48}),
    (lambda x, y: y**0.3, {"functions": 24}),
    (lambda x, y: y.sqrt().reciprocal(), {"functions": 48}),
    (lambda x, y: (x > y).float(), {"comparisons": 24}),
    (lambda x, y: x.clamp(-1, 1), {"comparisons": 48}),
    (lambda x, y: x.clamp(min=0), {"comparisons": 24}),
    (lambda x, y: torch.maximum(x, y), {"comparisons": 24}),
    (lambda x, y: functional.relu(x), {"comparisons": 24}),
    (lambda x, y: functional.relu6(x), {"comparisons": 48}),
    (lambda x, y: functional.leaky_relu(x), {"comparisons": 24, "multiplications": 24}),
    (lambda x, y: torch.sigmoid(x) + torch.tanh(y), {"functions": 48, "additions": 24}),
    (lambda x, y: functional.silu(x), {"functions": 24, "multiplications": 24}),
    (lambda x, y: functional.gelu(x), {"functions": 24, "multiplications": 72, "additions": 24}),
    (lambda x, y: functional.hardswish(x), {"macs": 24, "multiplications": 24, "comparisons": 48}),
    (lambda x, y: torch.addcmul(x, x, y), {"macs": 24}),
    (lambda x, y: torch.lerp(x, y, 0.5), {"additions": 24, "macs": 24}),
    (lambda x, y: x.clone().add_(y).mul_(2), {"additions": 24, "multiplications": 24}),
    (lambda x, y: torch.where(x > 0, x, y), {"comparisons": 24}),
    (lambda x, y: functional.dropout(x, 0.5, training=False), {}),
    (lambda x, y: torch.cat([x, y]).transpose(0, 1).flatten(), {}),
    (lambda x, y: functional.pad(x, (1, 1))[..., 1:3].round(), {}),
    (lambda x, y: functional.one_hot(torch.arange(3), 5).float(), {}),
]


@pytest.mark.parametrize(("function", "expected"), ELEMENTWISE)
def test_number_by_number(function, expected):
    assert arithmetic(function, X, Y) == expected


REDUCED = [
    (lambda x: x.sum(), {"additions": 23}),
    (lambda x: x.sum(1), {"additions": 16}),
    (lambda x: x.mean(-1), {"additions": 18, "multiplications": 6}),
    (lambda x: x.cumsum(-1), {"additions": 18}),
    (lambda x: x.amax(1), {"comparisons": 24}),
    (lambda x: x.max(1)[0], {"comparisons": 24}),
    (lambda x: x.argmax(-1), {"comparisons": 24}),
    (lambda x: x.var(-1), {"additions": 42, "multiplications": 12, "macs": 24}),
    (lambda x: torch.linalg.vector_norm(x), {"macs": 24, "functions": 1}),
    (lambda x: x.topk(2)[0], {"comparisons": 24}),
    (lambda x: x.sort(-1)[0], {"comparisons": 48}),
    # a row of 4: 4 maxima, 4 differences, 4 exponentials, 3 additions, 1 reciprocal, 4 products
    (
        lambda x: x.softmax(-1),
        {"comparisons": 24, "additions": 42, "functions": 30, "multiplications": 24},
    ),
    (lambda x: x.log_softmax(-1), {"comparisons": 24, "additions": 66, "functions": 30}),
]


@pytest.mark.parametrize(("function", "expected"), REDUCED)
def test_sums_maxima_and_rows(function, expected):
    assert arithmetic(function, X) == expected


def test_products_of_activations_and_of_weights():
    a, b = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    assert arithmetic(lambda a, b: a @ b, a, b) == {"macs": 2 * 3 * 4 * 5}
    assert arithmetic(lambda a, b: torch.einsum("bij,bjk->bki", a, b), a, b) == {"macs": 120}
    assert arithmetic(lambda a, b: torch.dot(a, b), a[0, 0], b[0, :, 0]) == {"macs": 4}
    assert arithmetic(torch.mv, a[0], b[0, :, 0]) == {"macs": 12}
    given = torch.randn(2, 3, 5)
    assert arithmetic(torch.baddbmm, given, a, b) == {"macs": 120}
    assert arithmetic(lambda g, a, b: torch.baddbmm(g, a, b, alpha=0.5), given, a, b) == {
        "macs": 120,
        "multiplications": 30,
    }


def test_a_bias_is_one_addition_wherever_it_is_added():
    x = torch.randn(5, 3, 4)
    expected = {"macs": 5 * 3 * 4 * 2, "bias_additions": 30}
    fused = nn.Linear(4, 2).eval()
    apart = Formula(
        lambda m, x: x @ m.weight + m.bias, weight=torch.randn(4, 2), bias=torch.ones(2)
    )
    assert still(count_module(fused, x).total) == expected
    assert still(count_module(apart.eval(), x).total) == expected
    # turned around in memory, torch adds it in an operator of its own
    assert still(count_module(fused, torch.randn(4, 3, 5).permute(2, 1, 0)).total) == expected


def test_what_is_made_of_weights_alone_counts_nothing():
    def standardised(module, x):
        weight = module.weight
        weight = (weight - weight.mean(1, keepdim=True)) / weight.std(1, keepdim=True)
        return functional.linear(x, weight)

    module = Formula(standardised, weight=torch.randn(3, 4)).eval()
    ledger = count_module(module, torch.randn(2, 4))
    assert still(ledger.total) == {"macs": 24}
    assert ledger.facts["Formula"].parameters == 12
    masked = Formula(
        lambda m, x, mask: functional.linear(x, m.weight * mask), weight=torch.ones(3, 4)
    )
    mask = torch.tensor([[1.0, 0, 0, 1]]).expand(3, 4)
    x = torch.randn(2, 4)
    found = count_module(masked.eval(), x, mask, constants=[mask])
    assert still(found.total) == {"macs": 12}  # half of the weights are there
    assert still(count_module(masked, x, mask).total) == {"macs": 24, "multiplications": 12}


@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_by_running_or_batch_statistics(training):
    x = torch.randn(2, 3, 5)
    found = arithmetic(
        lambda x: functional.batch_norm(x, torch.zeros(3), torch.ones(3), training=training), x
    )
    if training:  # 3 rows of 10: sums, centred, epsilon; 2/d a row and scaled; squares; a root
        expected = {"additions": 63, "multiplications": 36, "macs": 30, "functions": 3}
    else:
        expected = {"multiplications": 30, "additions": 30}
    assert found == expected


def test_normalisations_of_rows():
    x = torch.randn(2, 6, 5)
    expected = layer_norm(12, 5).to_json()
    assert still(count_module(nn.LayerNorm(5).eval(), x).total) == expected
    group = still(count_module(nn.GroupNorm(2, 6).eval(), x).total)
    assert group == layer_norm(4, 15).to_json()
    assert still(count_module(nn.LayerNorm(5, elementwise_affine=False).eval(), x).total) == {
        **expected,
        "macs": 60,
    }
    instance = still(count_module(nn.InstanceNorm1d(6).eval(), x).total)
    assert instance == {**expected, "macs": 60}


def test_windows_meet_what_is_there():
    assert sliding(5, 3, 3, 2, 1).tolist() == [1, 2, 1, 2, 1]
    assert sliding(4, 2, 2, 1, 0, 2).tolist() == [1, 1, 1, 1]
    assert adaptive(5, 3).tolist() == [1, 2, 1, 2, 1]
    x = torch.randn(1, 2, 5, 5)
    # rows meet 2, 3 and 2 of 3 windows' inputs: 7 in all, squared
    pooled = arithmetic(lambda x: functional.max_pool2d(x, 3, 2, 1), x)
    assert pooled == {"comparisons": 2 * 49}
    average = arithmetic(lambda x: functional.avg_pool2d(x, 3, 2, 1), x)
    assert average == {"additions": 2 * (49 - 9), "multiplications": 18}
    assert arithmetic(lambda x: functional.adaptive_avg_pool2d(x, 3), x) == average
    assert arithmetic(lambda x: functional.adaptive_avg_pool2d(x, 1), x) == {
        "additions": 48,
        "multiplications": 2,
    }
    line = torch.randn(2, 3, 6)
    assert arithmetic(lambda x: functional.max_pool1d(x, 2), line) == {"comparisons": 36}
    assert arithmetic(lambda x: functional.avg_pool1d(x, 2), line) == {
        "additions": 18,
        "multiplications": 18,
    }


CONVOLUTIONS = [
    (nn.Conv1d(3, 4, 3, padding=1, bias=False), (2, 3, 6)),
    (nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (2, 4, 5, 7)),
    (nn.Conv2d(2, 3, (2, 3), dilation=(1, 2), padding=(1, 2), bias=False), (1, 2, 5, 6)),
    (nn.Conv3d(1, 2, 2, padding=1, bias=False), (2, 1, 3, 4, 3)),
    (nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1, bias=False), (1, 2, 4, 3)),
]


@pytest.mark.parametrize(("module", "shape"), CONVOLUTIONS)
def test_a_convolution_has_as_many_products_as_its_matrix_has_weights(module, shape):
    torch.manual_seed(0)
    with torch.no_grad():
        module.weight[torch.rand_like(module.weight) < 0.3] = 0
    batch, *rest = shape
    units = torch.eye(int(torch.tensor(rest).prod())).reshape(-1, *rest)
    matrix = module(units).flatten(1)  # one row for each input
    reached = torch.count_nonzero(matrix, 1).reshape(rest)
    real = count_module(module.eval(), torch.randn(shape))
    assert real.total.macs == batch * int(reached.sum())
    spikes = (torch.rand(shape) < 0.4).float()
    found = count_module(module, spikes, signals=["binary"])
    assert found.total.synaptic_additions == int((spikes * reached).sum())
    assert found.total.spikes_in == int(spikes.sum())
    assert found.total.macs == found.total.bias_additions == 0
    assert found.driven == set(found.layers)
    facts = next(iter(found.facts.values()))
    assert (facts.kind, facts.signal, facts.dense) == ("convolution", "binary", int(reached.sum()))
    assert facts.weights == int(torch.count_nonzero(module.weight))
    graded = count_module(module, spikes * torch.rand(shape), signals=["graded"])
    assert graded.total.macs <= found.total.synaptic_additions


def test_the_strided_convolution_of_two_spikes():
    spikes = torch.zeros(2, 2, 5, 5)
    spikes[0, 0, 0, 0] = spikes[1, 1, 2, 3] = 1
    conv = nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False).eval()
    found = count_module(conv, spikes, signals=["binary"])
    assert found.total.synaptic_additions == 12
    with torch.no_grad():
        conv.weight.zero_()
    assert count_module(conv, spikes, signals=["binary"]).total.synaptic_additions == 0


def test_spikes_meet_weights_that_are_there_and_other_spikes():
    spikes = torch.tensor([[1.0, 0, 1, 0], [0, 0, 0, 1]])
    linear = nn.Linear(4, 3, bias=False).eval()
    assert count_module(linear, spikes, signals=["binary"]).total.synaptic_additions == 9
    with torch.no_grad():
        linear.weight[0, 0] = 0
    found = count_module(linear, spikes, signals=["binary"]).total
    assert found == Counts(
        spikes_in=3,
        synaptic_additions=8,
        weight_reads=8,
        state_reads=8,
        state_writes=8,
        activation_reads=3,
    )
    signed = count_module(linear, -spikes, signals=["ternary"])
    assert signed.total.synaptic_additions == 8
    # both are spikes: where both are there; one of them: with every number of the other
    other = torch.tensor([[1.0, 1, 0], [0, 1, 0], [0, 0, 0], [0, 1, 1]])
    met = arithmetic(torch.matmul, spikes, other, signals=["binary", "binary"])
    assert met == {"spikes_in": 8, "synaptic_additions": int((spikes @ other).sum())}
    assert arithmetic(torch.matmul, spikes, other, signals=["binary", "real"]) == {
        "spikes_in": 3,
        "synaptic_additions": 9,
    }


def test_a_batch_of_matrices_of_spikes():
    torch.manual_seed(1)
    a, b = (torch.rand(3, 2, 5, 4) < 0.4).float(), (torch.rand(3, 2, 4, 6) < 0.4).float()
    both = arithmetic(torch.matmul, a, b, signals=["binary", "binary"])
    assert both["synaptic_additions"] == int((a @ b).sum())
    one = arithmetic(torch.matmul, a, torch.randn(3, 2, 4, 6), signals=["binary"])
    assert one["synaptic_additions"] == 6 * int(a.sum())
    weight = torch.randn(4, 6)
    module = Formula(lambda m, x: torch.einsum("abij,jk->abik", x, m.weight), weight=weight).eval()
    found = count_module(module, a, signals=["binary"]).total
    assert found.synaptic_additions == 6 * int(a.sum())


def test_attention_by_hand():
    query, key, value = (
        torch.randn(2, 3, length, size) for length, size in ((4, 8), (5, 8), (5, 8))
    )
    heads, scores = 6, 6 * 4 * 5
    rows = heads * 4
    expected = {
        "macs": scores * (8 + 8),
        "multiplications": 2 * scores,
        "comparisons": scores,
        "additions": 2 * scores - rows,
        "functions": scores + rows,
    }
    by_hand = arithmetic(
        lambda q, k, v: ((q @ k.transpose(-2, -1)) / sqrt(8)).softmax(-1) @ v, query, key, value
    )
    assert by_hand == expected
    found = arithmetic(functional.scaled_dot_product_attention, query, key, value)
    assert found == expected
    mask = torch.zeros(4, 5)
    masked = arithmetic(
        lambda q, k, v, m: functional.scaled_dot_product_attention(q, k, v, attn_mask=m),
        query,
        key,
        value,
        mask,
    )
    assert masked == {**expected, "additions": expected["additions"] + scores}


def test_attention_to_spikes():
    torch.manual_seed(2)
    query, key, value = ((torch.rand(2, 1, 4, 8) < 0.3).float() for _ in range(3))
    found = arithmetic(
        functional.scaled_dot_product_attention, query, key, value, signals=["binary"] * 3
    )
    met = int((query @ key.transpose(-2, -1)).sum()) + 4 * int(value.sum())
    assert (found["synaptic_additions"], "macs" in found) == (met, False)


def test_what_spikes_become():
    torch.manual_seed(3)
    spikes = (torch.rand(2, 4, 4, 4) < 0.5).float()
    reader = nn.Linear(4, 3, bias=False)

    def signal(change):
        net = nn.ModuleDict({"reader": reader})
        net.forward = lambda x: net["reader"](change(x))
        return count_module(net.eval(), spikes, signals=["binary"]).facts["reader"].signal

    assert signal(lambda x: x.flatten(1).reshape(-1, 4)) == "binary"
    assert signal(lambda x: torch.cat([torch.zeros_like(x), x])) == "binary"
    assert signal(lambda x: functional.pad(x, (1, -1))) == "binary"
    assert signal(lambda x: functional.max_pool2d(x, 2, 1, padding=1)[..., :4]) == "binary"
    assert signal(lambda x: x.to(torch.float64).float()) == "binary"
    assert signal(lambda x: x + x.flip(0)) == "graded"
    assert signal(lambda x: functional.avg_pool2d(x, 1)) == "graded"
    assert signal(lambda x: x.sum(1)) == "graded"
    assert signal(lambda x: 2 * x) == "graded"
    assert signal(lambda x: x + 1) == "real"
    assert signal(lambda x: torch.cat([torch.ones_like(x), x])) == "real"
    assert signal(torch.sigmoid) == "real"

    def written(x):
        kept = torch.zeros(2, *x.shape)
        for step in range(2):
            kept[step] = x
        return kept

    def spoilt(x):
        kept = written(x)
        kept[1] += 0.5
        return kept

    assert signal(written) == "binary"
    assert signal(spoilt) == "real"


def test_pooled_spikes_are_events_with_a_number():
    spikes = torch.zeros(1, 1, 4, 4)
    spikes[0, 0, 0, 0] = spikes[0, 0, 0, 1] = spikes[0, 0, 3, 3] = 1
    net = nn.Sequential(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(4, 3, bias=False)).eval()
    found = count_module(net, spikes, signals=["binary"])
    assert still(found.layers["0"]) == {"spikes_in": 3, "additions": 3, "multiplications": 4}
    assert still(found.layers["2"]) == {"spikes_in": 2, "macs": 6}
    assert found.facts["2"].signal == "graded"


@pytest.mark.parametrize("bidirectional", [False, True])
def test_recurrent_layers(bidirectional):
    steps, batch, inputs, hidden, ways = 3, 2, 4, 5, 1 + bidirectional
    x = torch.randn(steps, batch, inputs)
    each = ways * steps * batch * hidden
    lstm = count_module(nn.LSTM(inputs, hidden, bidirectional=bidirectional).eval(), x).total
    assert lstm.macs == 4 * each * (inputs + hidden)
    assert (lstm.functions, lstm.multiplications) == (5 * each, 3 * each)
    rnn = count_module(nn.RNN(inputs, hidden, bidirectional=bidirectional).eval(), x).total
    assert (rnn.macs, rnn.functions) == (each * (inputs + hidden), each)
    gru = count_module(nn.GRU(inputs, hidden, bidirectional=bidirectional).eval(), x).total
    assert (gru.macs, gru.functions) == (3 * each * (inputs + hidden), 3 * each)
    cell = count_module(nn.LSTMCell(inputs, hidden).eval(), x[0]).total
    assert cell.macs == 4 * batch * hidden * (inputs + hidden)
    assert (cell.functions, cell.multiplications) == (5 * batch * hidden, 3 * batch * hidden)


def test_an_embedding_only_reads():
    ledger = count_module(nn.Embedding(10, 4).eval(), torch.tensor([[1, 2, 2]]))
    assert ledger.total == Counts(weight_reads=12, activation_writes=12)
    assert (ledger.facts["Embedding"].kind, ledger.facts["Embedding"].weights) == ("embedding", 40)


def test_rules_name_operators_that_there_are():
    """A misspelt name would never be reached."""
    import neuro.kernels  # noqa: F401 - registers operators of its own

    known = {
        name.partition(".")[0].removesuffix("_") for name in torch._C._dispatch_get_all_op_names()
    }
    assert sorted(name for name in RULES if name.removesuffix("_") not in known) == []
    assert RULES.keys() > FREE
    assert {"aten::view", "aten::cat", "aten::round"} <= FREE
    assert "aten::add" not in FREE
