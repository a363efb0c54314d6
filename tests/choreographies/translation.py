"""A document is read, its language found, its text translated and delivered: one step after the other, none undone.

Nothing that is done here takes anything from anybody, so no step has a compensation, and a failure of any of them
leaves nothing behind. Translating asks somebody who is not always there, and is tried again until he is.
"""

from choreo import Context, Retry, Saga, Service
from tests.choreographies.fact import Fact, Refusal
from tests.choreographies.piece import COMPLETED, FAILED, Way


class DocumentSubmitted(Fact, topic="documents"): ...


class DocumentTranslated(Fact, topic="documents"): ...


class DocumentRejected(Fact, topic="documents"): ...


class TextExtracted(Fact, topic="texts"): ...


class DocumentUnreadable(Refusal, topic="texts"): ...


class LanguageFound(Fact, topic="languages"): ...


class LanguageUnknown(Refusal, topic="languages"): ...


class TextTranslated(Fact, topic="translations"): ...


desk, reader, linguist, translator = Service("desk"), Service("reader"), Service("linguist"), Service("translator")
desk.owns(
    Saga("translation", starts=DocumentSubmitted, completes=DocumentTranslated, fails=DocumentRejected, key="key")
)


@reader.handles
def extract(document: DocumentSubmitted) -> TextExtracted | DocumentUnreadable:
    return DocumentUnreadable.after(document) if "extract" in document.no else TextExtracted.after(document)


@linguist.handles
async def find_language(text: TextExtracted) -> LanguageFound | LanguageUnknown:
    return LanguageUnknown.after(text) if "find_language" in text.no else LanguageFound.after(text)


@translator.handles(retry=Retry(attempts=3, delay_s=60, delay_s_max=600))
async def translate(text: LanguageFound, ctx: Context) -> TextTranslated:
    if "translate" in text.raises and ctx.attempt < 3:
        raise ConnectionError("the translator is out")
    return TextTranslated.after(text)


@desk.handles
def deliver(translated: TextTranslated) -> DocumentTranslated:
    return DocumentTranslated.after(translated)


@desk.handles
def reject(cause: DocumentUnreadable | LanguageUnknown) -> DocumentRejected:
    return DocumentRejected.after(cause)


SERVICES = (desk, reader, linguist, translator)
STARTS = DocumentSubmitted
_DONE = "TextExtracted LanguageFound TextTranslated DocumentTranslated"
WAYS = {
    "translated": Way(COMPLETED, _DONE),
    "translated at the third attempt": Way(COMPLETED, _DONE, raises=("translate",)),
    "unreadable": Way(FAILED, "DocumentUnreadable DocumentRejected", no=("extract",)),
    "in no language": Way(FAILED, "TextExtracted LanguageUnknown DocumentRejected", no=("find_language",)),
}
