"""Labels as classes: their order and their colours."""

from latentmap.plot.labels import read_labels


def test_classes_and_missing_labels_have_colours_of_their_own():
    labels = read_labels([f"c{i % 26:02d}" for i in range(60)] + [" ", ""], 62)
    assert len(labels.colours) == len(set(labels.colours)) == 20 and "#6b7785" not in labels.colours
    assert (labels.codes[-2:] == -1).all() and not any(not name.strip() for name in labels.names)


def test_classes_are_ordered_as_numbers_where_they_are():
    assert read_labels([10, 9, 2], 3).names == ("2", "9", "10")
    assert read_labels(["10", "9", "2"], 3).names == ("2", "9", "10")
    assert read_labels(["b", "10", "a"], 3).names == ("10", "a", "b")
