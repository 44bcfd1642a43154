"""Tiny encoders of sound in the format of Transformers, with random weights, as folders that tests make."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from egotools.extractors.hf.models import quietly

SPEECH = {
    "wav2vec2": "Wav2Vec2", "hubert": "Hubert", "wavlm": "WavLM", "data2vec-audio": "Data2VecAudio",
    "unispeech": "UniSpeech", "unispeech-sat": "UniSpeechSat", "sew": "SEW", "wav2vec2-conformer": "Wav2Vec2Conformer",
}  # fmt: skip
LAYERS = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
}  # fmt: skip
CLAP_AUDIO = {
    "window_size": 4, "num_mel_bins": 16, "spec_size": 64, "patch_size": 4, "patch_stride": [4, 4], "hidden_size": 16,
    "num_hidden_layers": 2, "depths": [1, 1], "num_attention_heads": [1, 2], "patch_embeds_hidden_size": 8,
    "projection_dim": 12, "aff_block_r": 2,
}  # fmt: skip
CLAP_TEXT = {**LAYERS, "vocab_size": 20, "max_position_embeddings": 16, "projection_dim": 12}
NAMES = ("clap", "clap-fused", "whisper", "audio-spectrogram-transformer", *SPEECH)


def sound_model(folder: Path, name: str) -> Path:
    """A folder with a tiny model of this `model_type`, and its feature extractor."""
    import transformers as library

    torch.manual_seed(sum(map(ord, name)))
    of = partial(getattr, library)
    with quietly():
        if name.startswith("clap"):
            fused = name.endswith("fused")
            audio = {**CLAP_AUDIO, "enable_fusion": fused}
            config = library.ClapConfig(audio_config=audio, text_config=CLAP_TEXT, projection_dim=12)
            preparing = library.ClapFeatureExtractor(
                feature_size=16, sampling_rate=8000, hop_length=160, max_length_s=4, fft_window_size=256,
                frequency_max=4000, truncation="fusion" if fused else "rand_trunc",
            )  # fmt: skip
            model = library.ClapModel(config)
        elif name == "whisper":
            config = library.WhisperConfig(
                d_model=16, encoder_layers=2, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
                encoder_ffn_dim=32, decoder_ffn_dim=32, num_mel_bins=20, max_source_positions=100, vocab_size=20,
                max_target_positions=8, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1,
            )  # fmt: skip
            preparing = library.WhisperFeatureExtractor(feature_size=20, sampling_rate=16000, chunk_length=2)
            model = library.WhisperModel(config)
        elif name == "audio-spectrogram-transformer":
            config = library.ASTConfig(
                **LAYERS, patch_size=8, frequency_stride=6, time_stride=6, max_length=200, num_mel_bins=20
            )  # fmt: skip
            preparing = library.ASTFeatureExtractor(num_mel_bins=20, max_length=200)
            model = library.ASTModel(config)
        else:
            speech = {
                **LAYERS, "conv_dim": [8] * 3, "conv_stride": [5, 8, 4], "conv_kernel": [10, 8, 4], "vocab_size": 20,
                "num_conv_pos_embeddings": 8, "num_conv_pos_embedding_groups": 2, "num_codevectors_per_group": 4,
                "feat_extract_norm": "layer" if name == "hubert" else "group",
            }  # fmt: skip
            config = of(f"{SPEECH[name]}Config")(**{**speech, **({"squeeze_factor": 2} if name == "sew" else {})})
            preparing = library.Wav2Vec2FeatureExtractor(return_attention_mask=name == "hubert")
            model = of(f"{SPEECH[name]}Model")(config)
        model.eval().save_pretrained(folder)
        preparing.save_pretrained(folder)
    return folder


def by_hand(folder: Path, samples: np.ndarray, **more: Any) -> tuple[Any, Any]:
    """What the library itself gives for samples [L]: its extractor's output and its model's, run as on the cards."""
    from transformers import AutoFeatureExtractor, AutoModel

    with quietly(), torch.inference_mode():
        prepare, model = AutoFeatureExtractor.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
        inputs = prepare(samples, sampling_rate=prepare.sampling_rate, return_tensors="pt")
        kind = json.loads((folder / "config.json").read_text())["model_type"]
        inputs = {name: value.float() if value.is_floating_point() else value for name, value in inputs.items()}
        if kind == "clap" and more.pop("joint", True):
            return inputs, model.get_audio_features(**inputs).pooler_output
        part = {"clap": "audio_model", "whisper": "encoder"}.get(kind)
        return inputs, (getattr(model, part) if part else model)(**inputs, **more)
