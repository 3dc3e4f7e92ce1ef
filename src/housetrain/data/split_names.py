"""Names of folders and table cells that mean a split: ``Training``, ``seg_test``, ``val2017``, ``Testdaten``.

In: names. Out: which split one means, or nothing; whether several are parts of one set, or albums named by days or by
a camera. It does not know folders.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal

Named = Literal["train", "validation", "test", "unlabeled"]

_WORDS: dict[str, Named] = {
    **dict.fromkeys(("train", "training", "trainset", "trn", "trainval", "learning"), "train"),
    **dict.fromkeys(
        ("validation", "validate", "validating", "val", "valid", "dev", "eval", "evaluation"), "validation"
    ),
    **dict.fromkeys(("test", "testing", "tests", "testset", "holdout", "tst"), "test"),
    **dict.fromkeys(("pred", "predict", "prediction", "predictions", "unsup", "submission"), "unlabeled"),
    **dict.fromkeys(("unlabeled", "unlabelled", "unsorted", "unannotated", "untagged"), "unlabeled"),
    # German, French, Spanish, Portuguese, Italian, Dutch, Polish, Turkish, Indonesian, Russian; without accents
    **dict.fromkeys(("trainings", "trainingsdaten", "trainingsbilder", "entrainement", "apprentissage"), "train"),
    **dict.fromkeys(("entrenamiento", "treino", "treinamento", "addestramento", "treningowe", "trening"), "train"),
    **dict.fromkeys(
        ("opleiding", "egitim", "latih", "pelatihan", "обучение", "обучающая", "тренировка", "трейн"), "train"
    ),
    **dict.fromkeys(("validierung", "validierungsdaten", "validacion", "validacao", "validazione"), "validation"),
    **dict.fromkeys(("validatie", "walidacyjne", "dogrulama", "validasi", "evaluacion"), "validation"),
    **dict.fromkeys(("валидация", "валидационная", "проверка"), "validation"),
    **dict.fromkeys(("testdaten", "testbilder", "prueba", "pruebas", "teste", "testes", "verifica"), "test"),
    **dict.fromkeys(("testowe", "uji", "pengujian", "тест", "тестовая", "тестирование"), "test"),
}
_PARTS: dict[str, Named] = {  # of words that no blank divides, or whose vowels are marks: Chinese, Hindi, Arabic, ...
    **dict.fromkeys(("प्रशिक्षण", "تدريب"), "train"),
    **dict.fromkeys(("सत्यापन", "تحقق"), "validation"),
    **dict.fromkeys(("परीक्षण", "اختبار"), "test"),
    **dict.fromkeys(("训练", "訓練", "学習", "トレーニング", "훈련", "학습"), "train"),
    **dict.fromkeys(("验证", "驗證", "検証", "バリデーション", "검증"), "validation"),
    **dict.fromkeys(("测试", "測試", "テスト", "評価", "테스트", "시험"), "test"),
}
_NEUTRAL = frozenset(
    (
        *("set", "data", "dataset", "images", "image", "imgs", "img", "photos", "seg", "split", "folder", "jpg"),
        *("png", "the", "my"),
    )
)

_SET_PARTS = frozenset(
    (
        *("part", "parts", "batch", "chunk", "shard", "fold", "kfold", "subset", "split", "volume", "disk", "folder"),
        *("dataset", "data", "image", "images", "img", "imgs", "jpg", "png", "photos", "pictures"),
    )
)
_GROUPS = frozenset(
    (
        *("site", "location", "station", "camera", "cam", "session", "day", "patient", "subject", "participant"),
        *("person", "user", "case", "domain", "round", "run", "visit", "scene", "sequence", "video", "clip", "set"),
    )
)

_SHORT: dict[str, Named] = {
    **dict.fromkeys(("tr", "trn", "tra"), "train"),
    **dict.fromkeys(("va", "vl", "vali"), "validation"),
    **dict.fromkeys(("te", "ts", "tes"), "test"),
}
"""What is a split only where all folders beside it are: ``tr`` and ``te`` are also codes of languages."""

_YEAR, _MONTH, _DAY = r"(?:19|20)\d\d", r"(?:0[1-9]|1[0-2])", r"(?:0[1-9]|[12]\d|3[01])"
_MONTHS = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_DATE = re.compile(
    rf"{_YEAR}|{_YEAR}[-_. ]?{_MONTH}|{_YEAR}[-_.]\d|{_MONTH}[-_.]{_YEAR}"
    rf"|{_MONTHS}[-_. ]*{_YEAR}|{_YEAR}[-_. ]*{_MONTHS}"
    rf"|(?:{_YEAR}{_MONTH}{_DAY}|{_YEAR}[-_. ]\d?\d[-_. ]\d?\d|\d?\d[-_.]\d?\d[-_.]{_YEAR})(?![\dA-Za-z]).*",
    re.IGNORECASE | re.DOTALL,
)
_CAMERA_FOLDER = re.compile(r"[1-9]\d\d(?=.*[A-Z])([A-Z0-9_]{5})")  # DCF, the rule of cameras for their cards
_CAMERAS = frozenset(
    (
        *("CANON", "APPLE", "MEDIA", "GOPRO", "MSDCF", "OLYMP", "PENTX", "RICOH", "SIGMA", "LEICA", "CASIO", "KODAK"),
        *("NIKON", "_PANA", "_FUJI", "SAMSG", "SSCAM", "PHOTO", "ANDRO", "SANYO", "RECNX", "EK113", "_BTCF", "DSCIM"),
    )
)
_CARD = frozenset(("dcim", "canonmsc", "private", "avf_info"))


def split_of(name: str) -> Named | None:
    """Return the split that a name means, or ``None``.

    A name means a split when one of its words does and the others say nothing: ``training_set``, ``seg_train``,
    ``Test1`` and ``val2017`` do, ``train_station`` and ``test_pattern_b`` do not.
    """
    split, rest = split_and_rest(name)
    return None if rest else split


def split_and_rest(name: str) -> tuple[Named | None, str]:
    """Return the one split that a word of a name means, or ``None``, and its other words: ``cats_train``, ``cats``."""
    name = re.sub(r"^(\d+|[A-Za-z])[.)] ", "", name)  # "a. Training Set"
    divided = re.sub(r"([a-z])([A-Z])", r"\1 \2", unicodedata.normalize("NFKC", name)).lower()
    plain = _plain(divided)
    if not plain.isascii():
        for part, split in _PARTS.items():
            if part in plain:
                return split, ""
    words = [word for word in re.split(r"[\W\d_]+", plain) if word]
    meant = [(word, _WORDS.get(word)) for word in words]
    splits = {split for _, split in meant if split}
    rest = " ".join(word for word, split in meant if split is None and word not in _NEUTRAL)
    return (splits.pop() if len(splits) == 1 else None), rest


def parts_of(names: Sequence[str]) -> Literal["parts", "groups", ""]:
    """Return what folders of the same name with another number or letter at its end are, by their common words.

    Returns:
        ``"parts"`` of one set (``images_part_1``, ``fold2``), ``"groups"`` of images (``site_a``, ``patient7``), or
        ``""`` for other names, such as ``1``, ``class1`` and ``cat``.
    """
    stems = {re.sub(r"[\W_]*(\d+|(?<![^\W\d_])[a-zA-Z])$", "", name).lower() for name in names}
    words = set(re.split(r"[\W\d_]+", stems.pop())) if len(stems) == 1 and len(names) > 1 else set()
    return "parts" if words & _SET_PARTS else "groups" if words & _GROUPS else ""


def short_splits(names: Sequence[str]) -> dict[str, Named]:
    """Return name -> split where each name means one, some of them only by two letters: ``tr``, ``va``, ``te``."""
    found: dict[str, Named] = {}
    for name in names:
        split = _SHORT.get(re.sub(r"[\W\d_]+", "", name).lower()) or split_of(name)
        if split:
            found[name] = split
    short = any(not split_of(name) for name in found)
    return found if short and len(found) == len(names) and "train" in found.values() else {}


def album_kind(name: str) -> Literal["date", "camera", ""]:
    """Return whether a name is a date (``2024-05-01``, ``202405``, ``May 2024``, ``1998``) or one that cameras give."""
    if _DATE.fullmatch(name.strip()):
        return "date"
    return "camera" if _CAMERA_FOLDER.fullmatch(name) or name.lower() in _CARD else ""


def albums(names: Sequence[str]) -> list[str]:
    """Return the names that are dates or those of a camera's folders, where at least two and most of them are."""
    suffixes = [match[1] for name in names if (match := _CAMERA_FOLDER.fullmatch(name))]
    found = [
        name
        for name in names
        if (kind := album_kind(name)) == "date"
        or (kind and (name[3:] in _CAMERAS or suffixes.count(name[3:]) > 1 or name.lower() in _CARD))
    ]
    return found if len(found) > 1 and 2 * len(found) > len(names) else []


def _plain(text: str) -> str:
    """Return the text with Latin letters stripped of their accents."""
    if text.isascii():
        return text
    plain = []
    for letter in text:
        base = unicodedata.normalize("NFD", letter)[:1]
        plain.append(base if base.isascii() else letter)
    return "".join(plain).replace("ı", "i")
