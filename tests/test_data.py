"""Committed tables: rows merged by run, checksums, another data folder."""

import gzip
import subprocess

import pandas as pd
import pytest

from recall import data, runs

TABLES = sorted(path.name.split(".")[0] for path in (runs.data_folder() / "tables").glob("*.csv*"))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RECALL_DATA", str(tmp_path))
    return tmp_path


def of(**columns) -> pd.DataFrame:
    return pd.DataFrame(columns)


def test_rows_of_other_runs_stay_digit_for_digit(folder):
    (folder / "tables").mkdir()
    kept = "run,value\nb,0.1234567890\na,2\na,3\nc,\n"
    (folder / "tables" / "t.csv").write_text(kept, encoding="utf-8")
    data.record(folder / "tables" / "t.csv")
    data.merge("t", of(run=["d", "a"], value=[5.0, 0.123456789]))
    assert (folder / "tables" / "t.csv").read_text(
        encoding="utf-8"
    ) == "run,value\nb,0.1234567890\na,0.12346\nc,\nd,5\n"


def test_same_rows_again_give_the_same_file(folder):
    rows = of(run=["b", "b", "a"], value=[1.5, float("nan"), 1e-7])
    first = data.merge("t", rows).read_bytes()
    assert data.merge("t", rows[rows.run == "b"]).read_bytes() == first
    assert data.merge("t", rows[rows.run == "a"]).read_bytes() == first


def test_a_run_is_told_by_its_cell_where_it_has_no_name(folder):
    rows = of(dimension=[3, 3, 5], labels=4, setting=["x", "x", "x"], seed=[1, 2, 1], value=[1, 2, 3])
    data.merge("t", rows)
    data.merge("t", of(dimension=[3], labels=4, setting=["x"], seed=[2], value=[9]))
    assert data.table("t").value.tolist() == [1, 9, 3]
    data.merge("t", of(dimension=[3], labels=4, setting=["y"], seed=[2], value=[7]))
    assert data.table("t").value.tolist() == [1, 9, 3, 7]


def test_other_columns_need_all_runs(folder):
    data.merge("t", of(run=["a", "b"], value=[1, 2]))
    with pytest.raises(ValueError, match="table must be t with its committed columns, or of all of its runs"):
        data.merge("t", of(run=["a"], value=[1], new=[1]))
    data.merge("t", of(run=["b", "a"], value=[1, 2], new=[3, 4]))
    assert data.table("t").values.tolist() == [["a", 2, 4], ["b", 1, 3]]  # in the old order
    with pytest.raises(ValueError, match="table must be one with a column run, name or of family"):
        data.merge("u", of(value=[1]))


def test_large_tables_are_packed(folder):
    small, large = of(run=["a"], value=[1.5]), of(run=range(30_000), value=1)
    for frame, ending in ((small, ".csv"), (large, ".csv.gz")):
        path = data.merge("t", frame)
        assert [each.name for each in (folder / "tables").iterdir()] == [f"t{ending}"] == [path.name]  # never both
    assert len(data.table("t")) == 30_001 and gzip.decompress(path.read_bytes()).startswith(b"run,value\na,1.5\n")
    first = path.read_bytes()
    assert data.merge("t", large).read_bytes() == first
    with pytest.raises(ValueError, match="table must be one of t, not 'v'"):
        data.table("v")


def test_an_edited_table_is_refused(folder):
    path = data.merge("t", of(run=["a", "b"], value=[1, 2]))
    data.merge("u", of(run=["a"], value=[1]))
    path.write_text(path.read_text(encoding="utf-8").replace("2", "3"), encoding="utf-8")
    for use in (lambda: data.table("t"), lambda: data.merge("t", of(run=["a"], value=[1]))):
        with pytest.raises(ValueError, match=r"tables/t\.csv does not match .*/SHA256SUMS$"):
            use()
    assert len(data.table("u")) == 1


def test_record_is_for_the_data_folder_alone(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("other") / "tables" / "t.csv"
    runs.write_csv(outside, of(run=["a"]))
    runs.write_csv(folder / "runs" / "t.csv", of(run=["a"]))
    data.record(outside, folder / "runs" / "t.csv")
    assert not (folder / data.SUMS).exists()


def test_without_committed_data(tmp_path, monkeypatch):
    monkeypatch.setenv("RECALL_DATA", str(tmp_path / "nowhere"))
    for use in (lambda: data.table("t"), lambda: data.path("playground.json"), runs.load_all):
        with pytest.raises(
            ValueError, match="RECALL_DATA must name the data folder of a checkout, for .*: there is none at"
        ):
            use()
    with pytest.raises(ValueError, match="RECALL_DATA .*, for 'x', which is no run folder"):
        runs.load("x")
    assert runs.names() == []


@pytest.mark.standard
def test_every_committed_file_matches_its_checksum():
    """Also by sha256sum itself; nothing that is sealed is missing from the list."""
    folder = runs.data_folder()
    done = subprocess.run(
        ["sha256sum", "--check", "--quiet", data.SUMS], cwd=folder, capture_output=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    sealed = {name for name in there if name.split("/")[0] in data.SEALED}
    listed = [line.split("  ")[1] for line in (folder / data.SUMS).read_text(encoding="utf-8").splitlines()]
    assert sorted(sealed) == listed


@pytest.mark.standard
@pytest.mark.parametrize("name", TABLES)
def test_merging_the_rows_of_one_run_changes_no_other(name, folder, monkeypatch):
    """Of every committed table: its first run's rows merged into the table give the same file."""
    monkeypatch.delenv("RECALL_DATA")
    committed, rows = data.table_path(name), data.table(name)
    monkeypatch.setenv("RECALL_DATA", str(folder))
    copy = folder / "tables" / committed.name
    runs.write_atomically(copy, committed.read_bytes())
    data.record(copy)
    key = [each for each in ("run", "name") if each in rows][:1] or [each for each in data.CELL if each in rows]
    first = rows.merge(rows[key].drop_duplicates().head(1), on=key)
    if len(first) < len(rows):
        data.merge(name, first)
    unpacked = gzip.decompress if committed.suffix == ".gz" else bytes
    assert unpacked(data.path("tables", committed.name).read_bytes()) == unpacked(committed.read_bytes())
