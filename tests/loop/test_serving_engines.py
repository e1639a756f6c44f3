"""One contract for every engine: the numpy one here, the transformers one where torch is installed."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from loop.serving.engine import Engine, ModelUnusable, RequestRefused, Sampling, pick, write
from loop.serving.numpy_engine import NumpyEngine
from loop.serving.server import make_engine
from tests.loop.tiny_models import PROMPT, write_adapter, write_model

KINDS = ["numpy", pytest.param("transformers", marks=pytest.mark.train)]


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("serving") / "tiny")


@pytest.fixture(scope="module", params=KINDS)
def engine(request: pytest.FixtureRequest, model_dir: Path) -> Engine:
    return make_engine(request.param, model_dir)


def logits_after(engine: Engine, adapter: str | None, text: str) -> np.ndarray[Any, Any]:
    ids = engine.encode(text)
    return engine.open(adapter, len(ids)).read(ids)


def test_reading_token_by_token_gives_the_logits_of_reading_at_once(engine: Engine) -> None:
    ids = engine.encode(PROMPT)
    session = engine.open(None, len(ids))
    for index in ids:
        stepwise = session.read([index])
    assert np.abs(stepwise - logits_after(engine, None, PROMPT)).max() < 1e-4


def test_a_fork_goes_on_without_touching_the_original(engine: Engine) -> None:
    first = engine.open(None, 32)
    first.read(engine.encode(PROMPT))
    second = first.fork()
    second.read(engine.encode("xyz"))
    wanted = logits_after(engine, None, PROMPT + "one")
    assert np.abs(first.read(engine.encode("one")) - wanted).max() < 1e-4


def test_the_same_seed_gives_the_same_text_whatever_else_is_running(engine: Engine) -> None:
    prompts = [engine.encode(PROMPT[shift:]) for shift in range(6)]

    def sample(number: int) -> str:
        return write(engine, None, prompts[number % 6], Sampling(seed=number, max_tokens=6))[0].text

    alone = [sample(number) for number in range(24)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(sample, reversed(range(24))))[::-1] == alone
    assert len(set(alone)) > 12


def test_the_samples_of_one_request_differ_and_do_not_depend_on_their_number(engine: Engine) -> None:
    prompt = engine.encode(PROMPT)
    many = write(engine, None, prompt, Sampling(seed=5, n=6, max_tokens=6))
    assert write(engine, None, prompt, Sampling(seed=5, n=2, max_tokens=6)) == many[:2]
    assert len({sample.text for sample in many}) > 1


def test_temperature_zero_takes_the_likeliest_token_and_reports_its_logprob(engine: Engine) -> None:
    written = write(engine, None, engine.encode(PROMPT), Sampling(temperature=0, max_tokens=4))[0]
    ids = engine.encode(PROMPT)
    for index, logprob in zip(written.ids, written.logprobs, strict=True):
        logits = engine.open(None, len(ids)).read(ids).astype(float)
        chances = logits - logits.max() - math.log(np.exp(logits - logits.max()).sum())
        assert index == int(logits.argmax()) and abs(chances[index] - logprob) < 1e-4
        ids.append(index)


def test_writing_ends_at_a_stop_string_at_the_limit_or_at_the_end_token(engine: Engine) -> None:
    prompt = engine.encode(PROMPT)
    full = write(engine, None, prompt, Sampling(temperature=0, max_tokens=5))[0]
    assert full.finish == "length" and len(full.ids) == 5
    cut = write(engine, None, prompt, Sampling(temperature=0, max_tokens=5, stop=(full.text[2],)))[0]
    assert cut.finish == "stop" and cut.text == full.text[: full.text.index(full.text[2])]
    ends = [
        write(engine, None, prompt, Sampling(temperature=2.0, seed=s, max_tokens=60))[0] for s in range(20)
    ]
    assert any(sample.finish == "stop" for sample in ends)
    assert not any(set(sample.ids) & engine.ends for sample in ends)


def test_an_empty_prompt_and_one_beyond_the_context_are_refused(engine: Engine) -> None:
    with pytest.raises(RequestRefused, match="empty"):
        write(engine, None, [], Sampling())
    with pytest.raises(RequestRefused, match="context of 128 tokens"):
        write(engine, None, engine.encode("a" * 120), Sampling(max_tokens=9))
    assert write(engine, None, engine.encode("a" * 120), Sampling(max_tokens=8, seed=1))


def test_adapters_change_their_own_answers_only(engine: Engine, tmp_path: Path) -> None:
    before = logits_after(engine, None, PROMPT)
    engine.load("idle", write_adapter(tmp_path / "idle", scale=0.0))
    engine.load("a.b", write_adapter(tmp_path / "one"))
    engine.load("other", write_adapter(tmp_path / "two", seed=2))
    assert np.abs(logits_after(engine, "idle", PROMPT) - before).max() < 1e-4
    first = logits_after(engine, "a.b", PROMPT)
    assert np.abs(first - before).max() > 0.1
    assert np.abs(logits_after(engine, "other", PROMPT) - first).max() > 0.1
    assert np.abs(logits_after(engine, None, PROMPT) - before).max() < 1e-6
    for name in ("idle", "a.b", "other"):
        engine.unload(name)
        with pytest.raises(RequestRefused, match="does not exist"):
            engine.open(name, 8)


def test_a_folder_that_is_no_adapter_is_refused_and_nothing_is_changed(
    engine: Engine, tmp_path: Path
) -> None:
    before = logits_after(engine, None, PROMPT)
    with pytest.raises(ModelUnusable, match="absent"):
        engine.load("absent", tmp_path / "absent")
    broken = write_adapter(tmp_path / "broken")
    (broken / "adapter_model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelUnusable, match="broken"):
        engine.load("broken", broken)
    with pytest.raises(ModelUnusable, match="wrong-rank"):
        engine.load("wrong", write_adapter(tmp_path / "wrong-rank", config={"r": 8}))
    for name in ("absent", "broken", "wrong"):
        with pytest.raises(RequestRefused, match="does not exist"):
            engine.open(name, 8)
    assert np.array_equal(logits_after(engine, None, PROMPT), before)


@pytest.mark.parametrize(
    ("config", "sentence"),
    [({"use_dora": True}, "use_dora"), ({"bias": "all"}, "bias"), ({"r": 8}, "rank 8"), ({"r": "x"}, "read")],
)
def test_the_numpy_engine_refuses_adapters_that_it_would_merge_wrongly(
    model_dir: Path, tmp_path: Path, config: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ModelUnusable, match=sentence):
        NumpyEngine(model_dir).load("odd", write_adapter(tmp_path / "odd", config=config))


def test_the_numpy_engine_refuses_an_adapter_of_another_base_and_one_that_is_not_finite(
    model_dir: Path, tmp_path: Path
) -> None:
    folder = write_adapter(tmp_path / "adapter")
    tensors = load_file(folder / "adapter_model.safetensors")
    renamed = {name.replace("layers.1", "layers.7"): value for name, value in tensors.items()}
    save_file(renamed, folder / "adapter_model.safetensors")
    with pytest.raises(ModelUnusable, match=r"layers\.7"):
        NumpyEngine(model_dir).load("far", folder)
    save_file(
        {name: value * np.float32("nan") for name, value in tensors.items()},
        folder / "adapter_model.safetensors",
    )
    with pytest.raises(ModelUnusable, match="not finite"):
        NumpyEngine(model_dir).load("nan", folder)


def test_a_model_that_the_numpy_engine_would_compute_wrongly_is_refused(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    for change in ({"model_type": "gpt2"}, {"attention_bias": True}, {"hidden_act": "gelu"}):
        (folder / "config.json").write_text(json.dumps(config | change))
        with pytest.raises(ModelUnusable, match="engine transformers"):
            NumpyEngine(folder)


def test_a_model_whose_logits_are_not_finite_gives_an_error_and_no_text(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] = np.inf
    save_file(weights, folder / "model.safetensors")
    engine = NumpyEngine(folder)
    with pytest.raises(RequestRefused, match="not finite") as caught:
        write(engine, None, engine.encode(PROMPT), Sampling())
    assert caught.value.status == 500


def test_samples_follow_the_probabilities_and_the_nucleus() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    rng = np.random.default_rng(0)
    plain = np.bincount([pick(logits, Sampling(), rng) for _ in range(4000)], minlength=4) / 4000
    assert np.abs(plain - [0.5, 0.3, 0.15, 0.05]).max() < 0.03
    nucleus = np.bincount([pick(logits, Sampling(top_p=0.7), rng) for _ in range(2000)], minlength=4) / 2000
    assert nucleus[2] == nucleus[3] == 0 and abs(nucleus[0] - 0.625) < 0.04
    assert {pick(logits, Sampling(top_p=0.0), rng) for _ in range(50)} == {0}
    cool = np.mean([pick(logits, Sampling(temperature=0.2), rng) == 0 for _ in range(2000)])
    assert cool > 0.9


@pytest.mark.train
@pytest.mark.parametrize("changes", [{}, {"num_key_value_heads": 2}, {"tie_word_embeddings": True}])
def test_numpy_and_transformers_compute_the_same_logits(tmp_path: Path, changes: dict[str, object]) -> None:
    import shutil

    from peft import LoraConfig, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM, set_seed

    tokenizer_dir = write_model(tmp_path / "source")
    set_seed(3)
    config = LlamaConfig.from_pretrained(tokenizer_dir)
    for name, value in changes.items():
        setattr(config, name, value)
    model = LlamaForCausalLM(config)
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    model.save_pretrained(base)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer_dir / name, base)
    tuned = get_peft_model(
        model, LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", init_lora_weights=False)
    )
    tuned.save_pretrained(adapter)
    engines = [make_engine(kind, base) for kind in ("numpy", "transformers")]
    for engine in engines:
        engine.load("tuned", adapter)
    text = "".join(chr(32 + index) for index in range(60))
    assert engines[0].encode(text) == engines[1].encode(text)
    assert engines[0].decode([1, 40, 50, 2]) == engines[1].decode([1, 40, 50, 2])
    talk = [{"role": "system", "content": "abc"}, {"role": "user", "content": "def="}]
    assert engines[0].chat(talk) == engines[1].chat(talk)
    for adapter_name in (None, "tuned"):
        ours, theirs = (logits_after(engine, adapter_name, text) for engine in engines)
        assert np.abs(ours - theirs).max() < 1e-4
    assert np.abs(logits_after(engines[0], "tuned", text) - logits_after(engines[0], None, text)).max() > 1e-3
