#!/usr/bin/env python3
"""Office documents and books with what their own libraries read from them.

Run with python-pptx 1.0.2, openpyxl 3.1.5, ebooklib 0.20, odfpy 1.4.1 and lxml
6.1.3; writes the files beside itself and expected.json: of each file its title and author, and the
pieces of text in order as the library gives them when it opens the file again.
"""
import datetime
import json
import pathlib

import ebooklib
import lxml.html
import openpyxl
import pptx
from ebooklib import epub
from odf import dc, opendocument, teletype
from odf import draw as odf_draw
from odf import meta as odf_meta
from odf import style as odf_style
from odf import table as odf_table
from odf import text as odf_text
from odf.namespaces import PRESENTATIONNS
from openpyxl.styles import Font
from pptx.enum.shapes import MSO_SHAPE
from pptx.util import Inches

HERE = pathlib.Path(__file__).parent
MOMENT = datetime.datetime(2024, 3, 5, 14, 30)


def make_pptx(path):
    deck = pptx.Presentation()
    deck.core_properties.title = "Otters of the coast"
    deck.core_properties.author = "Ada Núñez"
    slide = deck.slides.add_slide(deck.slide_layouts[0])
    slide.shapes.title.text = "Otters"
    slide.placeholders[1].text = "A survey & its results"
    slide.notes_slide.notes_text_frame.text = "Welcome everybody.\nIntroduce the team."
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "What they eat"
    frame = slide.placeholders[1].text_frame
    frame.text = "Sea urchins"
    for level, text in ((1, "purple ones"), (0, "Crabs")):
        paragraph = frame.add_paragraph()
        paragraph.text = text
        paragraph.level = level
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    group = slide.shapes.add_group_shape()
    for text in ("inside a group", "해달은 바다에 산다"):
        group.shapes.add_shape(MSO_SHAPE.RECTANGLE, 0, 0, Inches(1), Inches(1)).text_frame.text = text
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Counts"
    table = slide.shapes.add_table(4, 3, 0, 0, Inches(6), Inches(2)).table
    for r, row in enumerate((("bay", "year", "otters"), ("North", "2023", "41"), ("", "2024", "44"), ("South", "2024", ""))):
        for c, text in enumerate(row):
            table.cell(r, c).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    table.cell(3, 1).merge(table.cell(3, 2))
    # The file's order of parts is not the order of the slides.
    order = deck.slides._sldIdLst
    order.insert(1, order[3])
    deck.save(path)


def shape_texts(shapes, title):
    for shape in shapes:
        if shape.shape_type == pptx.enum.shapes.MSO_SHAPE_TYPE.GROUP:
            yield from shape_texts(shape.shapes, title)
        elif shape.has_text_frame and (title is None or shape.shape_id != title.shape_id):
            yield from (paragraph.text for paragraph in shape.text_frame.paragraphs)
        elif getattr(shape, "has_table", False) and shape.has_table:
            above = []
            for row in shape.table.rows:
                texts = []
                for c, cell in enumerate(row.cells):
                    if cell.is_spanned and c > 0 and not cell.text and row.cells[c - 1].is_merge_origin:
                        continue
                    texts.append(above[c] if cell.is_spanned else cell.text)
                above = texts
                yield " | ".join(texts)


def read_pptx(path):
    deck = pptx.Presentation(path)
    slides = []
    for number, slide in enumerate(deck.slides, 1):
        title = slide.shapes.title
        slides.append({"page": number, "heading": title.text if title is not None else f"Slide {number}"})
        texts = list(shape_texts(slide.shapes, title))
        if slide.has_notes_slide:
            texts += [paragraph.text for paragraph in slide.notes_slide.notes_text_frame.paragraphs]
        slides[-1]["texts"] = [text.strip() for text in texts if text.strip()]
    return {"title": deck.core_properties.title, "author": deck.core_properties.author, "sections": slides}


def make_xlsx(path):
    book = openpyxl.Workbook()
    book.properties.title = "Accounts"
    book.properties.creator = "Ada Núñez"
    sheet = book.active
    sheet.title = "Purchases"
    rows = (("item", "price", "bought", "at", "paid", "took"),
            ("rope, 10 m", 12.5, datetime.date(2024, 3, 5), datetime.time(9, 5), True, datetime.timedelta(hours=27, minutes=30)),
            ("밧줄", 0.1 + 0.2, MOMENT, datetime.time(23, 59, 59), False, datetime.timedelta(minutes=5)),
            ("& <nothing>", -3, datetime.date(1900, 2, 28), None, None, None),
            ("later", 1e21, datetime.datetime(2099, 12, 31, 23, 59, 59), None, True, None))
    for row in rows:
        sheet.append(row)
    sheet["C3"].number_format = 'd" de "mmmm yyyy hh:mm'
    sheet["F2"].number_format = sheet["F3"].number_format = "[h]:mm:ss"
    sheet["B2"].number_format = '"days" 0.00 [Red]'
    sheet["C2"].number_format = "mm-dd-yy"
    sheet["A1"].font = Font(bold=True)
    second = book.create_sheet("Second & last")
    for r, row in enumerate((("name", "count"), ("otters", 3), ("", 4), ("crabs", 5)), 1):
        for c, value in enumerate(row, 2):
            second.cell(r, c, value if value != "" else None)
    second.merge_cells("B2:B3")
    second["B6"] = "=SUM(C2:C4)"
    book.create_sheet("Empty")
    book.save(path)


def show(value):
    if isinstance(value, bool):
        return "TRUE" if value else "FALSE"
    if isinstance(value, datetime.timedelta):
        seconds = round(value.total_seconds())
        return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    if isinstance(value, datetime.datetime):
        return str(value.date()) if value.time() == datetime.time() else str(value)
    if isinstance(value, float):
        return f"{value:.15g}"
    return str(value)


def read_xlsx(path):
    book = openpyxl.load_workbook(path, data_only=True)
    sections = []
    for sheet in book.worksheets:
        merged = {}
        for area in sheet.merged_cells.ranges:
            for row in range(area.min_row, area.max_row + 1):
                merged[row, area.min_col] = sheet.cell(area.min_row, area.min_col).value
        rows = []
        for cells in sheet.iter_rows():
            row = {cell.column: merged.get((cell.row, cell.column), cell.value) for cell in cells}
            rows.append({column: show(value) for column, value in row.items() if value is not None})
        rows = [row for row in rows if row]
        if rows:
            header = rows[0]
            sections.append({"heading": sheet.title, "texts": ["; ".join(f"{header[c]}: {text}" for c, text in row.items())
                                                                for row in rows[1:]]})
    return {"title": book.properties.title, "author": book.properties.creator, "sections": sections}


def make_epub(path):
    book = epub.EpubBook()
    book.set_identifier("otters")
    book.set_title("The Otters’ Year")
    book.set_language("en-GB")
    book.add_author("Ada Núñez")
    book.add_author("Grace Kim")
    chapters = []
    for name, content in (
            ("z first.xhtml", "<h1>Winter</h1><p>Otters sleep in <em>rafts</em>.<br/>They hold hands.</p>"),
            ("a-second.xhtml", "<h1>Spring</h1><h2>Food</h2><ul><li>urchins</li><li>crabs</li></ul><a id='x'/>"
                               "<table><tr><th>bay</th><th>pups</th></tr><tr><td>North</td><td>4</td></tr></table>"),
            ("m.xhtml", "<h1>여름</h1><p>해달은 헤엄친다.</p><blockquote><p>So they do.</p></blockquote>")):
        chapter = epub.EpubHtml(title="", file_name="text/" + name, lang="en")
        chapter.content = f"<html><head><title/></head><body>{content}</body></html>"
        book.add_item(chapter)
        chapters.append(chapter)
    book.toc = chapters
    book.add_item(epub.EpubNcx())
    book.add_item(epub.EpubNav())
    book.spine = ["nav"] + chapters
    epub.write_epub(path, book)


def read_epub(path):
    book = epub.read_epub(path)
    sections = []
    for name, _ in book.spine:
        item = book.get_item_with_id(name)
        if item.get_type() != ebooklib.ITEM_DOCUMENT or isinstance(item, epub.EpubNav):
            continue
        body = lxml.html.document_fromstring(item.get_body_content().decode())
        texts = [" ".join(element.text_content().split()) for element in body.iter("h1", "h2", "p", "li", "tr")]
        sections.append({"heading": texts[0], "words": " ".join(texts[1:])})
    names = "; ".join(name for name, _ in book.get_metadata("DC", "creator"))
    return {"title": book.get_metadata("DC", "title")[0][0], "author": names, "sections": sections}


def make_odt(path):
    document = opendocument.OpenDocumentText()
    document.meta.addElement(dc.Title(text="Otters, briefly"))
    document.meta.addElement(odf_meta.InitialCreator(text="Ada Núñez"))
    body = document.text
    body.addElement(odf_text.H(outlinelevel=1, text="Otters"))
    paragraph = odf_text.P(text="They float")
    paragraph.addElement(odf_text.S(c=2))
    paragraph.addText("& dive")
    note = odf_text.Note(noteclass="footnote")
    note.addElement(odf_text.NoteCitation(text="1"))
    note_body = odf_text.NoteBody()
    note_body.addElement(odf_text.P(text="For up to five minutes."))
    note.addElement(note_body)
    paragraph.addElement(note)
    paragraph.addText(".")
    body.addElement(paragraph)
    body.addElement(odf_text.H(outlinelevel=2, text="먹이"))
    items = odf_text.List()
    for text in ("urchins", "crabs"):
        item = odf_text.ListItem()
        item.addElement(odf_text.P(text=text))
        items.addElement(item)
    body.addElement(items)
    table = odf_table.Table(name="Counts")
    for row in (("bay", "otters"), ("North", "41"), ("South", "7")):
        line = odf_table.TableRow()
        for text in row:
            cell = odf_table.TableCell()
            cell.addElement(odf_text.P(text=text))
            line.addElement(cell)
        table.addElement(line)
    body.addElement(table)
    document.save(path)


def read_odt(path):
    document = opendocument.load(path)
    texts = []
    notes = []

    def text_of(node):
        for note in node.getElementsByType(odf_text.Note):
            notes.extend(teletype.extractText(p) for p in note.getElementsByType(odf_text.P))
            note.parentNode.removeChild(note)
        return teletype.extractText(node)

    def walk(node):
        for child in node.childNodes:
            if child.qname[1] in ("p", "h"):
                texts.append(text_of(child))
            elif child.qname[1] == "table-row":
                texts.append(" | ".join(teletype.extractText(cell) for cell in child.childNodes))
            else:
                walk(child)

    walk(document.text)
    return {"title": str(document.meta.getElementsByType(dc.Title)[0]),
            "author": str(document.meta.getElementsByType(odf_meta.InitialCreator)[0]),
            "sections": [{"heading": texts[0], "texts": texts[1:] + notes}]}


def make_ods(path):
    document = opendocument.OpenDocumentSpreadsheet()
    table = odf_table.Table(name="Counts")
    rows = ((("string", "bay"), ("string", "otters"), ("string", "counted")),
            (("string", "North"), ("float", "41"), ("date", "2024-03-05")),
            (("string", "South"), ("float", "7"), ("date", "2024-03-06T08:00:00")))
    for row in rows:
        line = odf_table.TableRow()
        for kind, value in row:
            cell = odf_table.TableCell(valuetype=kind, **({"value": value} if kind == "float" else {}),
                                       **({"datevalue": value} if kind == "date" else {}))
            cell.addElement(odf_text.P(text=value if kind != "date" else "the " + value))
            line.addElement(cell)
        table.addElement(line)
    document.spreadsheet.addElement(table)
    document.save(path)


def read_ods(path):
    document = opendocument.load(path)
    table = document.spreadsheet.getElementsByType(odf_table.Table)[0]
    rows = [[(cell.getAttribute("datevalue") or teletype.extractText(cell)).replace("T", " ") for cell in row.childNodes]
            for row in table.getElementsByType(odf_table.TableRow)]
    return {"sections": [{"heading": table.getAttribute("name"),
                          "texts": ["; ".join(f"{name}: {value}" for name, value in zip(rows[0], row)) for row in rows[1:]]}]}


def make_odp(path):
    document = opendocument.OpenDocumentPresentation()
    layout = odf_style.PageLayout(name="layout")
    document.automaticstyles.addElement(layout)
    master = odf_style.MasterPage(name="master", pagelayoutname=layout)
    document.masterstyles.addElement(master)
    for title, texts in (("Otters", ("They float.",)), ("먹이", ("urchins", "crabs"))):
        page = odf_draw.Page(masterpagename=master)
        for text, kind in [(text, "outline") for text in texts] + [(title, "title")]:
            frame = odf_draw.Frame(width="10cm", height="2cm", x="1cm", y="1cm")
            frame.setAttrNS(PRESENTATIONNS, "class", kind)
            box = odf_draw.TextBox()
            box.addElement(odf_text.P(text=text))
            frame.addElement(box)
            page.addElement(frame)
        document.presentation.addElement(page)
    document.save(path)


def read_odp(path):
    document = opendocument.load(path)
    sections = []
    for number, page in enumerate(document.presentation.getElementsByType(odf_draw.Page), 1):
        sections.append({"page": number, "texts": []})
        for frame in page.getElementsByType(odf_draw.Frame):
            text = teletype.extractText(frame)
            if frame.getAttrNS(PRESENTATIONNS, "class") == "title":
                sections[-1]["heading"] = text
            else:
                sections[-1]["texts"].append(text)
    return {"title": sections[0]["heading"], "sections": sections}


def main():
    expected = {}
    for kind in ("pptx", "xlsx", "epub", "odt", "ods", "odp"):
        path = HERE / f"made.{kind}"
        globals()[f"make_{kind}"](str(path))
        expected[path.name] = globals()[f"read_{kind}"](str(path))
    (HERE / "expected.json").write_text(json.dumps(expected, ensure_ascii=False, indent=1) + "\n")


main()
