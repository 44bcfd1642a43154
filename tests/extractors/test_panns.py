"""PANNs as extractors: checkpoints in the published layout, spectrograms or samples, and refusals by name."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from avid_networks import Golden

from egotools.errors import ExtractorError, WeightsError
from egotools.extractors.lookup import find_extractor
from egotools.extractors.names import FoundExtractor
from egotools.nn.log_mel import ReplaiLogMel
from egotools.nn.panns import ARCHITECTURES
from egotools.types import AudioInfo, Clip
from egotools.weights.description import describe

WHOLE = Clip("a", Path("a.mp4"))


def published(path: Path, name: str, **changes: torch.Tensor) -> Path:
    """A checkpoint as PANNs publish it: with the front end, the norm of bands, and the classifier."""
    around = {
        "spectrogram_extractor.stft.conv_real.weight": torch.ones(5, 1, 8),
        "logmel_extractor.melW": torch.ones(5, 64),
        "bn0.weight": torch.ones(64),
        "bn0.running_var": torch.ones(64),
        "fc_audioset.weight": torch.ones(527, 512),
        "fc_audioset.bias": torch.ones(527),
    }
    tensors = Golden(f"audio_panns_{name}").parameters()
    torch.save({"iteration": 600000, "model": around | tensors | changes}, path)
    return path


def test_a_published_checkpoint_gives_the_features_of_the_spectrogram(tmp_path):
    path = published(tmp_path / "Cnn6.pth", "Cnn6")
    assert describe(path).network == "PANNs Cnn6 (extractor panns:cnn6)"
    extractor = find_extractor("panns:Cnn6").built(weights=str(path))
    windows = extractor.sound_windows(AudioInfo(44100, 2, 0.0, 4.0), WHOLE)
    assert (windows.rate, windows.length) == (44100, 88200)  # the file's own rate; resampled behind
    samples = torch.randn(2, 32000) / 10
    network = ARCHITECTURES["cnn6"].build().eval()
    network.load_state_dict(Golden("audio_panns_Cnn6").parameters())
    with torch.inference_mode():
        found = extractor.network()(samples)
        torch.testing.assert_close(found, network(ReplaiLogMel(2.0)(samples)))
    assert found.shape == (2, 512)


def test_networks_of_samples_hear_the_rate_that_is_asked_for():
    extractor = find_extractor("panns:wavegram_cnn14").built(weights="random:0", length=1.0, rate=8000)
    windows = extractor.sound_windows(AudioInfo(44100, 2, 0.0, 4.0), WHOLE)
    assert (windows.rate, windows.length) == (8000, 8000)


def test_other_names_and_weights_are_refused_by_name(tmp_path):
    with pytest.raises(ExtractorError, match=r"PANNs have no network 'cnn15'; choose from panns:cnn6, panns:cnn10"):
        find_extractor("panns:cnn15")
    path = published(tmp_path / "Cnn6.pth", "Cnn6")

    def built(name: str, **options: object) -> FoundExtractor:
        return find_extractor(name).built(**options)

    with pytest.raises(WeightsError, match=r"Cnn6\.pth: its network is Cnn6, not Cnn10"):
        built("panns:cnn10", weights=str(path)).network()
    odd = published(tmp_path / "odd.pth", "Cnn6", **{"conv_block9.conv1.weight": torch.ones(1)})
    with pytest.raises(WeightsError, match=r"odd\.pth: .*1 unknown such as 'conv_block9\.conv1\.weight'"):
        built("panns:cnn6", weights=str(odd)).network()
    torch.save({"a": torch.ones(1)}, tmp_path / "other.pth")
    with pytest.raises(WeightsError, match=r"other\.pth: contains no network of PANNs"):
        built("panns:cnn6", weights=str(tmp_path / "other.pth")).network()
    with pytest.raises(WeightsError, match=r"panns:cnn6 has no weights 'DEFAULT' .*Cnn6 from https://zenodo"):
        built("panns:cnn6").weights_digest()
    with pytest.raises(ValueError, match="--length must be 1 or more for PANNs"):
        built("panns:cnn6", length=0.5)
