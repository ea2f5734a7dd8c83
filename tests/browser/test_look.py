"""The look of the page: small and large windows, light and dark, without any card."""

import json
import shlex

import pytest
from playwright.async_api import expect

from tests.browser.visit import Visit
from tests.support.service.service import Service

PHONE = {"width": 360, "height": 740}
DESKTOP = {"width": 1440, "height": 900}
LONG_WORD = "/var/lib/models/" + "x" * 300
ENDLESS_ANIMATIONS = """() => document.getAnimations()
    .filter((animation) => animation.playState === "running")
    .filter((animation) => animation.effect.getTiming().iterations === Infinity).length"""
# Colours of text, each with its grounds.
COLOURS = {
    "--text": ["--ground", "--surface", "--failed-stage"],
    "--quiet": ["--ground", "--surface", "--stage-inner", "--stage-outer", "--failed-stage"],
    "--waiting": ["--surface"],
    "--rendering": ["--ground", "--surface"],
    "--ready": ["--ground", "--surface"],
    "--failed": ["--ground", "--surface"],
}


@pytest.mark.parametrize("window", [PHONE, DESKTOP], ids=["phone", "desktop"])
async def test_nothing_scrolls_sideways(visit: Visit, service: Service, window: dict[str, int]):
    await visit.page.set_viewport_size({"width": window["width"], "height": window["height"]})
    assert await visit.overflow() == 0
    for model_id in (1, 2, 9_007_199_254_740_991):
        await service.enqueue(model_id)
    await service.fail(await service.dequeue(), LONG_WORD)
    await service.dequeue("w" * 100)
    await expect(visit.card(1)).to_contain_text(LONG_WORD)
    await expect(visit.card(2)).to_contain_text("Rendering")
    await expect(visit.card(9_007_199_254_740_991)).to_be_visible()
    assert await visit.card(1).locator(".note").evaluate("note => note.scrollWidth <= note.clientWidth")
    assert await visit.overflow() == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_every_text_has_contrast_enough(visit: Visit, scheme: str):
    await visit.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    colours = await visit.page.evaluate(
        """(names) => {
            const style = getComputedStyle(document.documentElement);
            return Object.fromEntries(names.map((name) => [name, style.getPropertyValue(name).trim()]));
        }""",
        [*COLOURS, *{ground for grounds in COLOURS.values() for ground in grounds}],
    )
    for text, grounds in COLOURS.items():
        for ground in grounds:
            assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)


async def test_light_and_dark_follow_the_system(visit: Visit):
    async def ground() -> str:
        colour: str = await visit.page.evaluate("() => getComputedStyle(document.body).backgroundColor")
        return colour

    await visit.page.emulate_media(color_scheme="light")
    light = await ground()
    await visit.page.emulate_media(color_scheme="dark")
    assert await ground() != light


async def test_an_empty_page_tells_how_to_ask_for_a_thumbnail_and_the_command_works(visit: Visit, service: Service):
    await expect(visit.page.get_by_role("heading", name="No thumbnails yet")).to_be_visible()
    command = shlex.split(await visit.page.locator("#command").inner_text())
    assert command[:2] == ["curl", f"{service.url}api/thumbnail-jobs"]
    await service.post("api/thumbnail-jobs", json.loads(command[command.index("-d") + 1]))
    await expect(visit.card(1)).to_contain_text("Waiting")
    await expect(visit.page.get_by_role("heading", name="No thumbnails yet")).to_be_hidden()


async def test_a_screen_reader_finds_names_and_figures(visit: Visit, service: Service):
    await service.enqueue(7)
    await service.enqueue(8)
    await service.complete(await service.dequeue())
    await expect(visit.picture(7)).to_be_visible()
    await expect(visit.page.get_by_text("Thumbnails: 1 ready.")).to_be_attached()
    await expect(visit.page.get_by_role("banner")).to_match_aria_snapshot("""
        - banner:
          - heading "thumbq" [level=1]
          - term: Waiting
          - definition: "1"
          - term: Rendering
          - definition: "0"
          - term: Ready
          - definition: "1"
          - term: Failed
          - definition: "0"
          - status: Live
    """)
    await expect(visit.page.get_by_role("list", name="Thumbnails")).to_match_aria_snapshot("""
        - list:
          - listitem:
            - heading "Model 8" [level=2]
            - paragraph: Waiting
          - listitem:
            - link "Thumbnail of model 7":
              - img "Thumbnail of model 7"
            - heading "Model 7" [level=2]
            - paragraph: /Ready \\d+\\.\\d s/
    """)


async def test_motion_is_shown_only_to_those_who_want_it_and_while_it_is_true(visit: Visit, service: Service):
    await service.enqueue(1)
    await service.dequeue()
    await expect(visit.card(1)).to_contain_text("Rendering")
    assert await visit.page.evaluate(ENDLESS_ANIMATIONS) > 0
    await visit.page.emulate_media(reduced_motion="reduce")
    assert await visit.page.evaluate(ENDLESS_ANIMATIONS) == 0
    await visit.page.emulate_media(reduced_motion="no-preference")
    assert await visit.page.evaluate(ENDLESS_ANIMATIONS) > 0
    await service.stop_gateway()
    await visit.expect_connection("Reconnecting")
    assert await visit.page.evaluate(ENDLESS_ANIMATIONS) == 0
    visit.forgive_outage()


def contrast(one: str, other: str) -> float:
    """Return the contrast ratio of WCAG 2, from 1 to 21, of two colours written as #rrggbb."""
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour: str) -> float:
    red, green, blue = (
        value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4
        for value in (byte / 255 for byte in bytes.fromhex(colour.removeprefix("#")))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
