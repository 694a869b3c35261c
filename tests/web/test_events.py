"""The page's components and events: errors as sentences, one worker for the model, nothing shared between users.

Tests import Gradio themselves: it takes seconds, and every process of pytest-xdist collects all modules.
"""

import pytest

from dnnlib.errors import UserError
from images.photos import read_photo
from tests.support.web import needs_gradio
from web.results import Results

pytestmark = needs_gradio


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("page")


@pytest.fixture(scope="module")
def page(studio, folder):
    from web.page import build_page

    return build_page(studio, Results(folder))


def silent(*step, desc=None):
    """Take the place of a bar of progress."""


def refused(match=None):
    """Return a context that expects an error as the page shows it, with words that match."""
    import gradio

    return pytest.raises(gradio.Error, match=match)


def functions(page):
    return {function.fn.__name__: function for function in page.fns.values() if function.fn is not None}


def test_a_photo_goes_through_the_page(page, photo_file, folder):
    from web.photo_tab import as_list

    tab = functions(page)["open"].fn.__self__
    photo, (before, after), button = tab.open(str(photo_file(0, size=(90, 80))), silent)
    photo, notes = tab.complete(photo, silent)
    assert before is photo.part.image and after.shape == (16, 16, 3)
    assert notes == as_list(photo.notes) and "coarser than the photo" in notes
    assert button["interactive"] and button["value"].endswith("/a_cat-restored.png")
    (_, same), _ = tab.show(photo, None, 0.0, 0.5, 1.0, 0.0, 0.0)
    assert (same == after).all()
    (_, changed), button = tab.show(photo, photo, 1.0, 0.0, 1.0, 2.0, 0.0)
    assert (changed != after).any()
    assert button["value"].endswith("/a_cat-changed.png") and (read_photo(button["value"]) == changed).all()
    assert len({path.parent for path in folder.rglob("*.png")}) == 3  # nobody can guess where the next one is


def test_without_a_photo_nothing_is_shown(page):
    tab = functions(page)["open"].fn.__self__
    assert tab.complete(None, silent) == (None, "")
    view, button = tab.show(None, None, 0.0, 0.5, 1.0)
    assert view is None and not button["interactive"] and button["value"] is None


def test_errors_are_sentences_without_markup(page, tmp_path):
    path = tmp_path / "<img src=x>.png"
    path.write_bytes(b"no photo")
    with refused() as caught:
        functions(page)["open"].fn(str(path), silent)
    expected = "&lt;img src=x&gt;.png cannot be read: it is not an image of a known kind, or damaged; save it again"
    assert caught.value.message.startswith(expected) and not caught.value.print_exception


def test_values_of_no_slider_are_sentences(page, studio, photo_file):
    photo = studio.open(photo_file(0), silent)
    with refused("the fidelity is 7, must be from 0 to 1"):
        functions(page)["open"].fn.__self__.show(photo, None, 0.0, 7, 1.0)


def test_too_little_memory_is_told():
    from web.events import told_errors

    with refused("too little memory for that; send a smaller photo"), told_errors():
        raise MemoryError


def test_mistakes_of_the_program_are_not_told():
    from web.events import told_errors

    with pytest.raises(ZeroDivisionError), told_errors():
        raise ZeroDivisionError("a path of this machine")


def test_sentences_and_notes_hold_no_markup():
    from web.events import sentence_of
    from web.photo_tab import as_list

    assert sentence_of(UserError("<b>", "do")) == "&lt;b&gt;; do"
    assert as_list(["a", "<script>"]) == "- a\n- &lt;script&gt;" and as_list([]) == ""


def test_one_worker_serves_the_model(page):
    from web.events import MODEL

    model = {function.concurrency_id for name, function in functions(page).items() if name in ("open", "show")}
    assert model == {MODEL}
    slots = [function.concurrency_limit for function in page.fns.values() if function.concurrency_id == MODEL]
    assert slots and set(slots) == {1}


def test_no_event_is_offered_to_programs(page):
    assert page.get_api_info() == {"named_endpoints": {}, "unnamed_endpoints": {}}


def test_a_look_without_reference_has_none():
    from web.photo_tab import look_of

    look = look_of(None, 1.0, 0.25, 0.5, 2.0, 0.0)
    assert (look.quality, look.fidelity, look.share, look.strengths) == (1.0, 0.25, 0.5, (2.0, 0.0))
    assert look.reference is None


def test_fonts_are_those_of_the_visitors_machine():
    from web.page import theme

    assert theme()._stylesheets == [] and not any(theme()._font_css)
