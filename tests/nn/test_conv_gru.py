"""The recurrent network of maps: the reference's outputs, states that go on, dropout."""

from __future__ import annotations

import pytest
import torch
from memdpc_files import Golden

from egotools.nn.conv_gru import ConvGRU
from egotools.weights.memdpc import own_names


def loaded(golden: Golden) -> ConvGRU:
    given = golden.constructor
    gru = ConvGRU(given["input_size"], given["hidden_size"], kernel=given["kernel_size"], layers=given["num_layers"])
    tensors, differing = own_names(golden.parameters())
    assert len(differing) == len(tensors)  # the case fills both names, with different values
    gru.load_state_dict(tensors)
    return gru.eval()


@pytest.mark.parametrize("case", ["convgru_1layer_k1", "convgru_2layer_k1", "convgru_3layer_k3_hidden"])
@torch.no_grad()
def test_outputs_and_final_states_are_the_references(case):
    golden = Golden(case)
    state = golden.input("hidden") if case.endswith("hidden") else None
    output, last = loaded(golden)(golden.input("sequence"), state)
    golden.check("layer_output", output)
    golden.check("last_state", last)


@torch.no_grad()
def test_a_sequence_in_two_parts_is_the_sequence():
    gru = ConvGRU(3, 4, kernel=3, layers=2).eval()
    x = torch.randn(2, 5, 3, 4, 4)
    whole, last = gru(x)
    first, state = gru(x[:, :2])
    second, end = gru(x[:, 2:], state.transpose(0, 1), gru.products())
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(end, last)


@torch.no_grad()
def test_a_state_of_zeros_is_no_state():
    gru = ConvGRU(3, 4).eval()
    x = torch.randn(2, 3, 3, 2, 2)
    for found, wanted in zip(gru(x, torch.zeros(1, 2, 4, 2, 2)), gru(x), strict=True):
        torch.testing.assert_close(found, wanted)


@torch.no_grad()
def test_dropped_states_are_outputs_and_what_the_next_step_sees():
    gru = ConvGRU(3, 64, dropout=0.5)
    x = torch.randn(2, 2, 3, 4, 4)
    output, last = gru(x)
    assert 0.4 < (output == 0).float().mean() < 0.6
    torch.testing.assert_close(last[:, 0], output[:, -1])
    gru.dropout = 0.0
    again, _ = gru(x[:, 1:], output[:, 0].unsqueeze(0))
    kept = output[:, 1] != 0
    torch.testing.assert_close(again[:, 0][kept] / 0.5, output[:, 1][kept])


def test_weights_start_orthogonal_and_biases_zero():
    for cell in ConvGRU(6, 8, kernel=3, layers=2).cells():
        for gate in (cell.reset_gate, cell.update_gate, cell.out_gate):
            weight = gate.weight.flatten(1)
            torch.testing.assert_close(weight @ weight.t(), torch.eye(8))
            assert not gate.bias.any()
