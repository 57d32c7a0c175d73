"""What nbval leaves out when it compares the chapters' outputs: `recall.book` stores no text/plain beside a table or a
sentence, as it may hold an object's address."""


def pytest_collectstart(collector):
    if collector.path.suffix == ".ipynb":
        collector.skip_compare += ("text/plain",)
