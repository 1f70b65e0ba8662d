"""What scripts/check calls too large."""

from scripts.sizes import TooLarge, in_file

METHOD = "    def method_{}(self):\n        return 1\n"


def test_a_file_of_300_lines_is_fine_of_500_worth_a_look_and_of_501_too_long() -> None:
    assert list(in_file("a.py", "x = 1\n" * 300)) == []
    assert list(in_file("a.py", "x = 1\n" * 500)) == [TooLarge("a.py: 500 lines", broken=False)]
    assert list(in_file("a.py", "x = 1\n" * 501)) == [TooLarge("a.py: 501 lines", broken=True)]


def test_a_class_has_20_methods_at_most() -> None:
    def source(methods: int) -> str:
        return "class A:\n" + "".join(METHOD.format(number) for number in range(methods))

    assert list(in_file("a.py", source(20))) == []
    assert list(in_file("a.py", source(21))) == [TooLarge("a.py:1: class A has 21 methods", broken=True)]


def test_methods_that_are_only_declared_do_not_count() -> None:
    protocol = "class A(Protocol):\n" + "".join(f"    def method_{number}(self): ...\n" for number in range(30))
    assert list(in_file("a.py", protocol)) == []


def test_a_class_has_250_lines_at_most_also_within_a_function() -> None:
    source = "def make():\n    class A:\n" + "        x = 1\n" * 249
    assert list(in_file("a.py", source)) == []
    told = TooLarge("a.py:2: class A has 251 lines", broken=True)
    assert list(in_file("a.py", source + "        x = 1\n")) == [told]
