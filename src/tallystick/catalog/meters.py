"""The meters that exist without being written in a catalog file. Pure."""

from typing import Final

from tallystick.catalog.plan import DOLLARS, Aggregation, Meter


def _meter(name: str, title: str, unit: str, aggregation: Aggregation) -> Meter:
    return Meter(name=name, title=title, unit=unit, aggregation=aggregation)


BUILT_IN: Final = {
    meter.name: meter
    for meter in (
        _meter("requests", "Requests", "request", "count"),
        _meter("input_tokens", "Input tokens", "token", "sum"),
        _meter("output_tokens", "Output tokens", "token", "sum"),
        _meter(DOLLARS, "Model charges", "nanocredit", "sum"),
        _meter("agent_sessions", "Agent sessions", "session", "count"),
        _meter("llm_inferences", "Tokens of LLM inferences", "token", "sum"),
        _meter("image_generation", "Images generated", "image", "sum"),
        _meter("document_page", "Document pages", "page", "sum"),
    )
}
