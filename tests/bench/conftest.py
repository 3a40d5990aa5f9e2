import tests.bench


def pytest_configure(config):
    tests.bench.FULL_SIZE = bool(config.getoption("benchmark_enable"))
