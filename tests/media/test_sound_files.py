"""Sound files as people really have them: when their sounds are heard, whatever encoders and recorders do."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from media_files import write_sound, write_tracks, write_video
from sounds import BURSTS, beginnings, encoded, heard, restamped

import egotools.media.sound.sound_file
from egotools.errors import ClipError
from egotools.extraction.messages import Failure, Piece, windows_of
from egotools.extraction.reading import Reader
from egotools.extractors.audio import LogMelSpectrogram, Waveform
from egotools.manifests.check import check_clips, measure
from egotools.manifests.folders import clips_of, list_folder
from egotools.media.audio import open_sound
from egotools.media.video import open_frames
from egotools.types import Clip


def joined(target: Path, *sources: Path) -> Path:
    target.write_bytes(b"".join(source.read_bytes() for source in sources))
    return target


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.wav", "pcm_s16le"), ("a.flac", "flac"), ("a.mp3", "libmp3lame"), ("mp3.mkv", "libmp3lame"),
     ("mp3.mp4", "libmp3lame"), ("a.m4a", "aac"), ("a.mp4", "aac"), ("a.mov", "aac"), ("a.mkv", "aac"),
     ("a.ogg", "libopus"), ("a.webm", "libopus"), ("opus.mp4", "libopus"), ("flac.oga", "flac"),
     ("vorbis.ogg", "vorbis"), ("vorbis.mkv", "vorbis")],
)  # fmt: skip
def test_what_an_encoder_put_before_the_sound_is_off(name: str, codec: str, tmp_path: Path) -> None:
    rate = 48000 if codec == "libopus" else 44100
    sound = open_sound(encoded(tmp_path / name, codec, rate=rate, channels=2 if codec == "vorbis" else 1))
    assert (sound.info.start, sound.remarks) == (0.0, [])
    assert sound.info.end == pytest.approx(4.0, abs=0.025)  # some containers tell the end by the packet
    np.testing.assert_allclose(beginnings(heard(sound)), BURSTS, atol=1e-3)


def decoded_to_wav(path: Path) -> tuple[np.ndarray, int]:
    """What `ffmpeg -i path a.wav` writes: what is decoded, one after the other; mono."""
    with av.open(str(path)) as container:
        frames = list(container.decode(audio=0))
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=frames[0].sample_rate)
        parts = [part.to_ndarray()[0] for frame in [*frames, None] for part in resampler.resample(frame)]
    return np.concatenate(parts), frames[0].sample_rate


@pytest.mark.parametrize(
    ("name", "codec", "options"),
    [("a.mp3", "libmp3lame", {}), ("bare.mp3", "libmp3lame", {"write_xing": "0"}), ("a.aac", "aac", {}),
     ("a.mp4", "aac", {"movflags": "frag_keyframe+empty_moov"}), ("a.wma", "wmav2", {}), ("one.wma", "wmav1", {}),
     ("a.opus", "libopus", {}), ("a.m4a", "aac", {})],
)  # fmt: skip
def test_sound_is_where_players_have_it(name: str, codec: str, options: dict[str, str], tmp_path: Path) -> None:
    path = encoded(tmp_path / name, codec, rate=48000, options=options)
    sound = open_sound(path)
    samples, rate = decoded_to_wav(path)
    assert sound.info.start == 0.0
    assert sound.info.end == pytest.approx(len(samples) / rate, abs=0.025)
    np.testing.assert_allclose(beginnings(heard(sound)), beginnings(samples, rate), atol=1e-3)


def box(name: bytes, *parts: bytes) -> bytes:
    return (8 + sum(map(len, parts))).to_bytes(4, "big") + name + b"".join(parts)


def with_itunes_delay(source: Path, target: Path, samples: int) -> Path:
    """A copy of an M4A that tells the encoder's delay as iTunes does, and not by an edit list."""
    data = bytearray(source.read_bytes().replace(b"edts", b"free"))
    text = f" 00000000 {samples:08X} 00000000 {176400:016X}" + 8 * " 00000000"
    own = (box(b"mean", bytes(4), b"com.apple.iTunes"), box(b"name", bytes(4), b"iTunSMPB"))
    item = box(b"----", *own, box(b"data", b"\0\0\0\1\0\0\0\0", text.encode()))
    for name in (b"ilst", b"meta", b"udta", b"moov"):  # the one lies in the next
        at = data.index(name) - 4
        data[at : at + 4] = (int.from_bytes(data[at : at + 4], "big") + len(item)).to_bytes(4, "big")
    at = data.index(b"ilst") + 4
    target.write_bytes(data[:at] + item + data[at:])
    return target


def test_a_delay_that_itunes_tells_is_off(tmp_path: Path) -> None:
    path = with_itunes_delay(encoded(tmp_path / "a.m4a", "aac"), tmp_path / "itunes.m4a", 1024)
    sound = open_sound(path)
    assert (sound.info.start, sound.info.end) == (0.0, 4.0)
    np.testing.assert_allclose(beginnings(heard(sound)), BURSTS, atol=1e-3)


def test_an_mp3_covers_what_was_encoded(tmp_path: Path) -> None:
    for rate in (44100, 22050):
        sound = open_sound(encoded(tmp_path / f"{rate}.mp3", "libmp3lame", rate=rate))
        assert (sound.info.start, sound.info.end) == (0.0, 4.0)


@pytest.mark.parametrize("late", [1000.0, 0.5, -0.7])
@pytest.mark.parametrize("number", [0, 20, 60, -1])
def test_one_packet_with_an_odd_stamp_shifts_nothing(number: int, late: float, tmp_path: Path) -> None:
    good = encoded(tmp_path / "good.mkv", "aac", rate=48000)
    with av.open(str(good)) as container:
        last = sum(packet.size > 0 for packet in container.demux()) - 1
    odd = number % (last + 1)

    def stamp(at: int, pts: int, second: int) -> int:
        return pts + round(late * second) if at == odd else pts

    sound = open_sound(restamped(good, tmp_path / "odd.mkv", stamp))
    assert sound.info.end - sound.info.start == pytest.approx(4.0, abs=0.6)
    np.testing.assert_allclose(beginnings(heard(sound)), BURSTS, atol=2e-3)


def test_the_far_stamp_of_a_packet_is_told(tmp_path: Path) -> None:
    good = encoded(tmp_path / "good.mkv", "aac", rate=48000)
    sound = open_sound(restamped(good, tmp_path / "a.mkv", lambda n, pts, s: pts + 1000 * s if n == 60 else pts))
    assert sound.info.end == pytest.approx(4.0, abs=0.02)
    assert sum(np.abs(heard(sound)) > 0.05) / 16000 == pytest.approx(0.27, abs=0.02)
    (remark,) = sound.remarks
    assert remark.startswith("the audio packet at 1.25")
    assert "1001.2" in remark


def test_a_pause_stays_and_an_endless_one_is_told(tmp_path: Path) -> None:
    good = encoded(tmp_path / "good.mkv", "aac", rate=48000)
    pause = open_sound(restamped(good, tmp_path / "pause.mkv", lambda n, pts, s: pts + 3 * s * (n > 80)))
    np.testing.assert_allclose(beginnings(heard(pause)), [*BURSTS[:2], *(BURSTS[2:] + 3)], atol=2e-3)
    assert (pause.info.gaps, pause.remarks) == ((), [])
    endless = open_sound(restamped(good, tmp_path / "endless.mkv", lambda n, pts, s: pts + 900 * s * (n > 80)))
    assert endless.info.end == pytest.approx(904.0, abs=0.02)
    (gap,) = endless.info.gaps
    assert gap == pytest.approx((1.7, 901.7), abs=0.03)
    assert "no sound between 1.7" in endless.remarks[0]


def test_a_clock_that_begins_anew_goes_on(tmp_path: Path) -> None:
    good = encoded(tmp_path / "good.mkv", "aac", rate=48000)
    sound = open_sound(restamped(good, tmp_path / "a.mkv", lambda n, pts, s: pts - 3 * s * (n > 140)))
    np.testing.assert_allclose(beginnings(heard(sound)), BURSTS, atol=2e-3)
    assert "2.9" in sound.remarks[0]


JOINED = {
    "opus": ("libopus", "ogg", 48000, 1), "opus2": ("libopus", "ogg", 48000, 2), "vorbis": ("vorbis", "ogg", 44100, 2),
    "vorbis22": ("vorbis", "ogg", 22050, 2), "flac": ("flac", "ogg", 44100, 1), "flac22": ("flac", "ogg", 22050, 2),
    "mp3": ("libmp3lame", "mp3", 44100, 1), "mp3-22": ("libmp3lame", "mp3", 22050, 2),
    "wav": ("pcm_s16le", "wav", 44100, 1), "wav16": ("pcm_s16le", "wav", 16000, 2),
    "aiff": ("pcm_s16be", "aiff", 44100, 1), "m4a": ("aac", "ipod", 44100, 1),
    "mka": ("libopus", "matroska", 48000, 1), "open-wav": ("pcm_s16le", "wav", 44100, 1),
    "raw-flac": ("flac", "flac", 44100, 1), "raw-flac22": ("flac", "flac", 22050, 1),
}  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [("opus", "opus"), ("opus", "opus", "opus"), ("opus", "opus2"), ("opus2", "opus"), ("vorbis", "vorbis"),
     ("vorbis", "vorbis22"), ("flac", "flac22", "flac"), ("opus", "flac22"), ("mp3", "mp3"), ("mp3", "mp3-22", "mp3"),
     ("wav", "wav16"), ("aiff", "aiff"), ("m4a", "m4a", "m4a"), ("raw-flac", "raw-flac22"),
     ("mka", "mka"), ("open-wav", "open-wav")],
    ids="+".join,
)  # fmt: skip
def test_joined_files_are_read_in_turn(names: tuple[str, ...], tmp_path: Path) -> None:
    sources = [
        encoded(tmp_path / name, codec, format=format, rate=rate, channels=channels)
        for name, (codec, format, rate, channels) in ((name, JOINED[name]) for name in names)
    ]
    if "open-wav" in names:  # by a recorder that writes to a pipe, and does not know how long it will be
        data = sources[0].read_bytes()
        at = data.index(b"data") + 4
        sources[0].write_bytes(b"RIFF" + 4 * b"\xff" + data[8:at] + 4 * b"\xff" + data[at + 4 :])
    sound = open_sound(joined(tmp_path / "joined", *sources))
    expected = np.concatenate([BURSTS + 4 * part for part in range(len(names))])
    assert sound.info.end == pytest.approx(4 * len(names), abs=0.005)
    assert f"{len(names)} files were joined in it; the second begins at 4.00" in sound.remarks[0]
    samples = heard(sound)
    np.testing.assert_allclose(beginnings(samples), expected, atol=5e-3)
    again = np.concatenate(list(open_sound(sound.path).windows(np.array([2.5, 5.5]), 16000, 16000)))
    np.testing.assert_array_equal(again, np.concatenate([samples[40000:56000], samples[88000:104000]]))


def test_what_is_joined_and_cannot_be_read_is_told(tmp_path: Path) -> None:
    one = encoded(tmp_path / "one.ogg", "libopus", rate=48000)
    data = one.read_bytes()
    (tmp_path / "begun.ogg").write_bytes(data + data[:60])  # a recorder that was stopped as the second began
    begun = open_sound(tmp_path / "begun.ogg")
    assert (begun.info.end, begun.damage, begun.remarks) == (4.0, "", [])
    broken = bytearray(data)
    broken[28:36] = b"OddCodec"  # instead of OpusHead
    (tmp_path / "broken.ogg").write_bytes(data + broken)
    sound = open_sound(tmp_path / "broken.ogg")
    assert sound.info.end == 4.0
    assert sound.damage.startswith("damaged: the file joined to it at 4.000 s cannot be read: ")
    whole, part = Clip("a", sound.path), Clip("b", sound.path, end=2.0)
    (failure,) = Reader([Waveform()], 8).read(whole, [0], 0, 0)
    assert isinstance(failure, Failure)
    assert "4.000 s cannot be read" in failure.reason
    assert len(rows(Reader([Waveform()], 8), part, [0])[0]) == 2


def test_a_tag_amid_an_mp3_is_no_sound(tmp_path: Path) -> None:
    bare = encoded(tmp_path / "bare.mp3", "libmp3lame", options={"write_xing": "0", "id3v2_version": "0"})
    tag = b"ID3\x04\0\0\0\0\0\x05TIT2\0"
    path = tmp_path / "a.mp3"
    path.write_bytes(bare.read_bytes() + tag + bare.read_bytes())
    sound = open_sound(path)
    assert sound.info.end == pytest.approx(8.1, abs=0.03)
    assert len(beginnings(heard(sound))) == 12


@pytest.mark.parametrize(("rate", "channels"), [(22050, 1), (48000, 2), (48000, 6), (16000, 2)])
def test_a_stream_that_changes_midway_is_brought_to_what_it_was(rate: int, channels: int, tmp_path: Path) -> None:
    first = encoded(tmp_path / "a.aac", "aac", rate=48000)
    second = encoded(tmp_path / "b.aac", "aac", rate=rate, channels=channels)
    sound = open_sound(joined(tmp_path / "c.aac", first, second))
    own, other = (beginnings(heard(open_sound(path))) for path in (first, second))
    seam = open_sound(first).info.end
    assert sound.info.end == pytest.approx(seam + open_sound(second).info.end, abs=1e-3)
    assert sound.info.end == pytest.approx(8.1, abs=0.05)
    np.testing.assert_allclose(beginnings(heard(sound)), [*own, *(other + seam)], atol=2e-3)
    assert sound.remarks[0].startswith("at 4.032 s the sound changes from 48000 Hz, mono, to ")
    stereo = np.concatenate(list(sound.windows(np.array([0.0, 5.0]), 16000, 16000, mono=False)), axis=1)
    assert stereo.shape == (1, 32000)


def wav(said: int, samples: bytes, *, bits: int = 16, channels: int = 1, kind: int = 1) -> bytes:
    """A WAV at 16 kHz whose header says that it holds `said` bytes."""
    each = channels * bits // 8
    form = b"".join(number.to_bytes(size, "little") for number, size in
                    ((kind, 2), (channels, 2), (16000, 4), (16000 * each, 4), (each, 2), (bits, 2)))  # fmt: skip
    length = said.to_bytes(4, "little")
    return b"RIFF" + length + b"WAVEfmt " + (16).to_bytes(4, "little") + form + b"data" + length + samples


@pytest.mark.parametrize("seconds", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("said", [0xFFFFFFFF, 0, 0x7FFFFFFF])
@pytest.mark.parametrize(("bits", "channels", "kind"), [(16, 1, 1), (8, 1, 1), (24, 2, 1), (32, 1, 3)])
def test_all_of_a_wav_from_a_pipe_is_read(
    seconds: float, said: int, bits: int, channels: int, kind: int, tmp_path: Path
) -> None:
    count = int(seconds * 16000)
    value = {8: b"\xc0", 16: b"\0\x40", 24: b"\0\0\x40", 32: np.float32(0.5).tobytes()}[bits]  # half of full scale
    path = tmp_path / "a.wav"
    path.write_bytes(wav(said, value * channels * count, bits=bits, channels=channels, kind=kind))
    sound = open_sound(path)
    assert sound.info.end == pytest.approx(seconds)
    (window,) = sound.windows(np.array([0.0]), count, 16000)
    np.testing.assert_array_equal(window, np.full(count, 0.5))


@pytest.mark.parametrize(("bits", "channels", "kind"), [(16, 1, 1), (24, 2, 1)])
def test_a_part_of_a_sample_at_the_end_is_no_sound(bits: int, channels: int, kind: int, tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(0xFFFFFFFF, bytes(2048 * channels * bits // 8 + 1), bits=bits, channels=channels, kind=kind))
    sound = open_sound(path)
    assert sound.info.end == 2048 / 16000
    assert len(heard(sound))


def test_the_stream_marked_as_default_is_read(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "two.mkv", 0.0, 0.5, default=1)
    sound = open_sound(path)
    assert heard(sound)[4000:12000].std() == pytest.approx(0.36, abs=0.02)
    assert sound.remarks == []
    assert not heard(open_sound(path, 0)).any()


def test_of_streams_that_none_is_marked_of_the_first_is_read_and_named(tmp_path: Path) -> None:
    sound = open_sound(write_tracks(tmp_path / "three.avi", 0.5, 0.0, 0.0, default=None))
    assert heard(sound).any()
    assert "3 audio streams, none of them marked as default: number 0 " in sound.remarks[0]
    assert open_sound(sound.path, 2).remarks == []


def test_a_late_window_of_sound_in_mp4_is_the_same_after_a_jump(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("egotools.media.audio.JUMP_SECONDS", 1.0)
    rng = np.random.default_rng(1)
    path = write_sound(tmp_path / "a.mp4", rng.uniform(-0.5, 0.5, (1, 6 * 44100)), 44100, codec="libmp3lame",
                       format="fltp")  # fmt: skip
    whole = heard(open_sound(path))
    (late,) = open_sound(path).windows(np.array([4.5]), 16000, 16000)
    np.testing.assert_array_equal(late, whole[72000:88000])


def test_a_late_window_of_adpcm_is_not_jumped_to(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 30 * 8000))
    path = write_sound(tmp_path / "a.wav", noise, 8000, codec="adpcm_ms")
    (late,) = open_sound(path).windows(np.array([28.0]), 8000, 8000)
    np.testing.assert_array_equal(late, list(open_sound(path).windows(np.arange(29.0), 8000, 8000))[28])


@pytest.mark.parametrize(("name", "codec"), [("a.wav", "pcm_s16le"), ("a.aiff", "pcm_s16be"), ("a.au", "pcm_s16be"),
                                             ("a.flac", "flac"), ("a.mov", "pcm_s16le")])  # fmt: skip
def test_a_sound_cut_short_is_told(name: str, codec: str, tmp_path: Path) -> None:
    path = encoded(tmp_path / name, codec, options={"movflags": "faststart"} if name == "a.mov" else {})
    assert open_sound(path).damage == ""
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    assert "of 4.00 s of sound can be read" in open_sound(path).damage
    assert measure(path).damage.startswith("truncated: ")


def test_several_extractors_share_one_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encoded(tmp_path / "a.m4a", "aac")
    opened = []
    real = egotools.media.sound.sound_file.SoundFile.frames
    monkeypatch.setattr(
        egotools.media.sound.sound_file.SoundFile, "frames", lambda file: opened.append(file) or real(file)
    )
    extractors = [Waveform(), Waveform(rate=48000, length=0.5), LogMelSpectrogram(hop=0.3), Waveform(length=3.0)]
    clips = [Clip("a", path), Clip("b", path, start=0.5, end=2.5)]
    together = [rows(Reader(extractors, 2), clip, range(4)) for clip in clips]
    assert len(opened) <= 3  # one a clip; and another where the second begins before what is still held
    alone = [rows(Reader(extractors, 2), clip, [position]) for clip in clips for position in range(4)]
    for position, each in enumerate(alone):
        np.testing.assert_array_equal(together[position // 4][position % 4], each[position % 4])


def rows(reader: Reader, clip: Clip, wanted: Sequence[int]) -> dict[int, np.ndarray]:
    """What an extractor gets of a clip, by its position."""
    parts: dict[int, list[np.ndarray]] = {}
    for piece in reader.read(clip, wanted, 0, 0):
        assert isinstance(piece, Piece)
        parts.setdefault(piece.extractor, []).append(windows_of(piece))
    return {position: np.concatenate(each) for position, each in parts.items()}


SOUND_ALONE = [("a.mp4", "aac"), ("a.mov", "pcm_s16le"), ("a.webm", "libopus"), ("a.mkv", "aac"),
               ("a.avi", "pcm_s16le"), ("a.ts", "aac"), ("a.wmv", "wmav2"), ("a.m2ts", "ac3")]  # fmt: skip


def test_sound_in_a_video_container_is_sound(tmp_path: Path) -> None:
    for name, codec in SOUND_ALONE:
        path = tmp_path / f"{Path(name).suffix[1:]}{name}"
        encoded(path, codec, rate=48000, options={"mpegts_m2ts_mode": "1"} if name == "a.m2ts" else {})
        span = measure(path, decode="sample")
        assert (span.frames, span.damage) == (None, "")
        assert span.end == pytest.approx(4.0, abs=0.1)
    write_video(tmp_path / "picture.mp4", 3)
    write_video(tmp_path / "picture.ts", 20)
    write_video(tmp_path / "picture.webm", 3, codec="libvpx")
    kinds = Counter(item.kind for item in list_folder(tmp_path).found)
    assert kinds == {"sound": len(SOUND_ALONE), "video": 3}
    assert check_clips(clips_of(list_folder(tmp_path).found)) == []


def test_frames_of_sound_alone_are_refused_as_those_of_a_sound_file(tmp_path: Path) -> None:
    for name, codec in (("a.wav", "pcm_s16le"), ("a.mp4", "aac")):
        with pytest.raises(ClipError, match=f"{name}: no video stream in this file"):
            open_frames(encoded(tmp_path / name, codec))
