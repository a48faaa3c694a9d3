"""A seeded bi-encoder of two layers, 32 wide, with a tokenizer that spells every word, in a directory on disk."""

import json
import string
from pathlib import Path

import torch
from tokenizers import Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import WordPiece
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel

WORDS = [
    *("the", "a", "of", "in", "to", "how", "do", "i", "file", "tree", "list", "map", "key", "value"),
    *("cat", "dog", "bird", "sleeps", "runs", "eats", "green", "red", "walk", "read"),
]
CORPUS = [
    f"{adjective} {animal} {verb} in the {place}"
    for adjective in ("green", "red", "old")
    for animal in ("cat", "dog", "bird")
    for verb in ("sleeps", "runs", "eats")
    for place in ("tree", "file")
]
QUERIES = ["how do i walk a tree", "red cat", "where does the bird sleep?"]


def build_tokenizer() -> Tokenizer:
    characters = list(string.ascii_lowercase + string.digits + string.punctuation)
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *characters, *(f"##{c}" for c in characters)]
    unique = {token: index for index, token in enumerate(dict.fromkeys(vocabulary))}
    tokenizer = Tokenizer(WordPiece(unique, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = [(token, unique[token]) for token in ("[CLS]", "[SEP]")]
    tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=special)
    return tokenizer


def write_biencoder(folder: Path, model: torch.nn.Module, tokenizer: Tokenizer, max_length: int = 32) -> Path:
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
        {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": max_length}))
    return folder


def tiny_bert(seed: int = 0) -> BertModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=build_tokenizer().get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=48,
        initializer_range=0.3,
        pad_token_id=0,
    )
    return BertModel(config).eval()
