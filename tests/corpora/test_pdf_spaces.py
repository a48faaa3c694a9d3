"""PDF files that move on between words instead of showing spaces."""

from io import BytesIO

import pytest

from cde_retrievers.corpora.readers.pdf import pdf_as_markdown
from cde_retrievers.corpora.readers.pdf_spaces import UsualSpaces

pypdf = pytest.importorskip("pypdf")

from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject  # noqa: E402

LETTERS = "Tahoelvs="


def value(content):
    """Return content as objects of a PDF: names begin with a slash."""
    from pypdf.generic import ArrayObject, NumberObject

    if isinstance(content, dict):
        return DictionaryObject({NameObject(key): value(entry) for key, entry in content.items()})
    if isinstance(content, list):
        return ArrayObject([value(entry) for entry in content])
    return NumberObject(content) if isinstance(content, int) else NameObject(content)


def stream(data):
    made = DecodedStreamObject()
    made.set_data(data)
    return made


def composite(writer, with_space=False):
    """Return a font of two bytes a character; code 32 is "=", as wide as two spaces."""
    codes = {letter: 40 + place for place, letter in enumerate(LETTERS)} | {"=": 32} | ({" ": 60} if with_space else {})
    mapping = "".join(f"<{code:04X}> <{ord(letter):04X}>\n" for letter, code in codes.items())
    mapping = f"1 begincodespacerange\n<0000> <FFFF>\nendcodespacerange\n{len(codes)} beginbfchar\n{mapping}endbfchar\n"
    widths = [part for letter, code in codes.items() for part in (code, [{"=": 600, " ": 250}.get(letter, 500)])]
    descendant = value({"/Type": "/Font", "/Subtype": "/CIDFontType0", "/BaseFont": "/ABCDEF+Tea", "/W": widths})
    font = value({"/Type": "/Font", "/Subtype": "/Type0", "/BaseFont": "/ABCDEF+Tea", "/Encoding": "/Identity-H"})
    font[NameObject("/DescendantFonts")] = value([])
    font["/DescendantFonts"].append(writer._add_object(descendant))
    font[NameObject("/ToUnicode")] = writer._add_object(stream(f"{mapping}endcmap\n".encode()))
    return font, lambda text: "<" + "".join(f"{codes[letter]:04X}" for letter in text) + ">"


def simple(writer, listed=("/T", "/a", "/h", "/o", "/e", "/l", "/v", "/s", "/equal"), code=65, **more):
    """Return a font that lists its characters from `code` on; the width in the place of the space is another one's."""
    differences = {"/Type": "/Encoding", "/Differences": [code, *listed]} | more
    font = value({"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/ABCDEF+Tea", "/Encoding": differences})
    font.update(value({"/FirstChar": 32, "/LastChar": 80, "/Widths": [600] + [500] * 48}))
    return font, lambda text: "(" + "".join(chr(code + LETTERS.index(letter)) for letter in text) + ")"


def write(make, words=("Tea", "has", "leaves"), gap=-240, **options):
    writer = pypdf.PdfWriter()
    page = writer.add_blank_page(300, 300)
    font, shown = make(writer, **options)
    fonts = DictionaryObject({NameObject("/F1"): writer._add_object(font)})
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): fonts})
    line = f" {gap} ".join(shown(word) for word in words)
    page[NameObject("/Contents")] = writer._add_object(stream(f"BT /F1 10 Tf 20 200 Td [{line}] TJ ET".encode()))
    file = BytesIO()
    writer.write(file)
    return file


@pytest.mark.parametrize("make", [composite, simple])
def test_gaps_are_spaces_in_fonts_that_have_none(make):
    file = write(make)
    assert pypdf.PdfReader(file).pages[0].extract_text() == "Teahasleaves"  # else this is not needed any more
    assert pdf_as_markdown(file, 100).strip() == "Tea has leaves"
    assert pdf_as_markdown(write(make, words=("T", "ea", "ha", "s"), gap=-60), 100).strip() == "Teahas"  # kerning
    assert pdf_as_markdown(write(make, words=("Tea=", "leaves")), 100).strip() == "Tea= leaves"


def test_fonts_with_a_space_are_as_they_were():
    for make, options in (
        (composite, {"with_space": True}),
        (simple, {"/BaseEncoding": "/WinAnsiEncoding"}),
        (simple, {"listed": ("/T", "/a", "/h", "/o", "/e", "/l", "/v", "/space")}),
    ):
        reader = pypdf.PdfReader(write(make, words=("Tea",), **options))
        page = reader.pages[0]
        before = page.extract_text()
        UsualSpaces().give(page)
        assert page.extract_text() == before
        font = page["/Resources"]["/Font"]["/F1"]
        assert font.get("/Widths", [600])[0] == 600


def test_a_damaged_font_is_left_to_pypdf():
    for font in (
        {},
        {"/Subtype": "/Type0"},
        {"/Subtype": "/Type0", "/DescendantFonts": [5], "/ToUnicode": "/Identity-H"},
        {"/Encoding": {"/Differences": 5}, "/Widths": [], "/FirstChar": 32},
        {"/Encoding": {"/Differences": ["/e"]}, "/Widths": [1], "/FirstChar": 33},
        {"/Encoding": "/WinAnsiEncoding", "/Widths": 5},
    ):
        UsualSpaces().give(value({"/Resources": {"/Font": {"/F1": font}}}))
    for page in ({}, {"/Resources": 5}, {"/Resources": {"/Font": []}}, {"/Resources": {"/Font": {"/F1": 5}}}):
        UsualSpaces().give(value(page))
