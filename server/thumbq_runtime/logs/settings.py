"""The settings of the log, which every program reads before all others."""

from thumbq_runtime.settings.declaration import Kind, Setting


def _one_of(*words: str) -> Kind[str]:
    def parse(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return text.lower()

    return Kind(f"{', '.join(words[:-1])} or {words[-1]}", parse)


LOG_FORMAT = Setting(
    ("THUMBQ_LOG_FORMAT",),
    _one_of("text", "json", "auto"),
    "text",
    "Form of the log on standard error: `text` for people, `json` for programs, and `auto` is `text` on a terminal and"
    " `json` elsewhere.",
)
LOG_LEVEL = Setting(
    ("THUMBQ_LOG_LEVEL",),
    _one_of("debug", "info", "warning", "error"),
    "info",
    "The least level that is logged; SIGHUP turns `debug` on and off while a program runs.",
)
