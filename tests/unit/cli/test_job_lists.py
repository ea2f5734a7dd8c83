"""Lists of jobs as they come out of spreadsheets and programs, and the sentences for lines that are no jobs."""

import hashlib
import io

import pytest

from thumbq.cli.enqueue.job_lists import InvalidLine, Listed, read_list

HASH = "ab" * 32
HEADINGS = "modelId,modelHash,options\n"


def read(text: str | bytes, name: str) -> list[Listed]:
    return list(read_list(io.BytesIO(text.encode() if isinstance(text, str) else text), name))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("models.csv", f"\ufeff{HEADINGS}7,{HASH},\n"),
        ("models.csv", f'\ufeff"modelId","modelHash"\r\n"7","{HASH}"\r\n'),
        ("models.csv", f"modelId,modelHash,,\n7,{HASH},,\n"),
        ("models.csv", f"modelId;modelHash;options\r\n7;{HASH};\r\n"),
        ("standard input", f"modelId;modelHash\n7;{HASH}\n"),
        ("models.csv", f",,\r\nmodelId,modelHash,\r\n , ,\r\n7,{HASH},\r\n"),
        ("standard input", f"{HEADINGS}7,{HASH},\n"),
        ("63", f"model_id,model_hash\n7,{HASH}\n"),
        ("models.jsonl", f'\ufeff{{"modelId": 7, "modelHash": "{HASH}"}}\n'),
        ("standard input", f'{{"modelId": 7, "modelHash": "{HASH}"}}'),
        ("standard input", f'\n{{"modelId": 7, "modelHash": "{HASH}"}}'),
    ],
)
def test_a_list_is_read_as_it_was_written(name: str, text: str):
    (listed,) = read(text, name)
    assert (listed.job.model_id, listed.job.model_hash) == (7, HASH)
    assert listed.size == len(text.encode())
    assert listed.digest == hashlib.sha256(text.encode()).hexdigest()


@pytest.mark.parametrize(
    ("number", "model_id"),
    [
        ("9007199254740993.0", 2**53 + 1),
        ("9.007199254740993e15", 2**53 + 1),
        ("7.0", 7),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_a_whole_number_is_taken_as_it_is_written(number: str, model_id: int):
    (listed,) = read(f'{{"modelId": {number}, "modelHash": "{HASH}"}}', "a.jsonl")
    assert listed.job.model_id == model_id
    if "e" not in number:
        (listed,) = read(f'{{"modelId": "{number}", "modelHash": "{HASH}"}}', "a.jsonl")
        assert listed.job.model_id == model_id
        (listed,) = read(f"model_id,modelHash\n{number},{HASH}\n", "a.csv")
        assert listed.job.model_id == model_id


def job_with(options: str) -> str:
    return f'{{"modelId": 7, "modelHash": "{HASH}", "options": {options}}}'


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("a.csv", f"modelId,modelHash,modelId\n1,{HASH},2\n", "Line 1 of a.csv is no job: modelId stands there twice"),
        ("a.csv", "modelId,model_id,modelHash\n1,2,x\n", "Line 2 of a.csv is no job: modelId stands there twice"),
        ("a.csv", f'{HEADINGS}1,{HASH},"{{""a"": 1, ""a"": 2}}"\n', "Line 2 of a.csv is no job: a stands there twice"),
        ("a.csv", f"modelId,modelHash,\n1,{HASH},x\n", "Line 2 of a.csv is no job: there is no field '': the fields"),
        (
            "a.csv",
            "model,hash\n1,2\n",
            "Line 2 of a.csv is no job: there is no field 'model': the fields are modelId, modelHash, ",
        ),
        (
            "a.jsonl",
            '{"modelId": 1, "hash": "x"}',
            "Line 1 of a.jsonl is no job: there is no field 'hash': the fields are",
        ),
        ("a.csv", f"modelId,modelHash\n9223372036854775808,{HASH}\n", "Line 2 of a.csv is no job: "),
        (
            "a.csv",
            '\nmodelId,modelHash\n\n1,"x\n2,y\n',
            "Line 5 of a.csv is no job: unexpected end of data; its row begins at line 4",
        ),
        ("a.csv", 'modelId,modelHash\n1,"x"y\n', "Line 2 of a.csv is no job: ',' expected after '\"'"),
        ("a.csv", b"modelId,modelHash\n1,\xff\n", "Line 2 of a.csv is no job: it is not UTF-8"),
        ("a.jsonl", b'{"modelId": 1}\n{"modelId": "\xff"}\n', "Line 2 of a.jsonl is no job: it is not UTF-8"),
        ("a.jsonl", '{"modelId": 1, "modelId": 2}', "Line 1 of a.jsonl is no job: modelId stands there twice"),
        ("a.jsonl", "[" * 100_000, "Line 1 of a.jsonl is no job: it has too many levels"),
        ("a.jsonl", '{"modelId": ' + "[" * 100_000, "Line 1 of a.jsonl is no job: it has too many levels"),
        ("a.jsonl", '{"modelId": [[1]]}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", '{"modelId": NaN}', "Line 1 of a.jsonl is no job: NaN is no number of JSON"),
        ("a.jsonl", '{"modelId": 1e400}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", f'{{"modelId": {2**70}}}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", f'{{"modelId": {"9" * 5000}}}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", '{"modelId": 1.5}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", '{"modelId": 9007199254740992.5}', "9007199254740992.5 would be rounded to a whole number"),
        ("a.jsonl", '{"modelId": "1_000"}', "Line 1 of a.jsonl is no job: modelId is no whole number"),
        ("a.csv", f"modelId,modelHash\n1e3,{HASH}\n", "Line 2 of a.csv is no job: modelId is no whole number"),
        ("a.csv", f"modelId,modelHash,priority\n1,{HASH},0.5\n", "Line 2 of a.csv is no job: priority is no whole"),
        ("a.jsonl", '{"modelHash": 5}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", '{"delay": 5}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", '{"options": 5}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", r'{"modelHash": "\ud800"}', "Line 1 of a.jsonl is no job: "),
        ("a.jsonl", job_with('{"seed": 9007199254740993}'), "whole number beyond 2^53"),
        ("a.jsonl", job_with('{"seed": [{"of": -9007199254740993}]}'), "whole number beyond 2^53"),
        ("a.jsonl", job_with('{"seed": 9007199254740993.0}'), "whole number beyond 2^53"),
        ("a.jsonl", job_with('{"seed": 1.00000000000000000001}'), "1.00000000000000000001 would be rounded to a whole"),
        ("a.jsonl", job_with('{"seed": 1e-9999999999999999999}'), "1e-9999999999999999999 would be rounded to a whole"),
        ("a.jsonl", job_with('{"seed": 1e400}'), "a number that is not finite"),
        ("a.jsonl", job_with("[" * 50 + "]" * 50), "options have too many levels"),
        ("a.csv", f'{HEADINGS}1,{HASH},"{{""seed"": 9007199254740993}}"\n', "whole number beyond 2^53"),
        ("a.csv", f'{HEADINGS}1,{HASH},"{{""seed"": 9007199254740993.0}}"\n', "whole number beyond 2^53"),
    ],
)
def test_a_line_that_is_no_job_is_named_in_a_sentence(name: str, text: str | bytes, sentence: str):
    with pytest.raises(InvalidLine) as refusal:
        read(text, name)
    assert sentence in str(refusal.value)
    assert len(str(refusal.value)) < 300
