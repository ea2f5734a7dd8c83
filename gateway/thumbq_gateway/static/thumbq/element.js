// Generated from clients/typescript/src/element.ts by `make typescript`. Change it there.
import { gatewayAddress } from "./addresses.js";
import { Follower } from "./follow.js";
/** The elements of one page that show models of one gateway. They share one subscription. */
class Gallery {
    static #galleries = new Map();
    #elements = new Map();
    #shown = new Map();
    #followed = new Set();
    #url;
    #access = {};
    #following;
    #isRefused = false;
    constructor(url) {
        this.#url = url;
        this.#following = this.#follow();
    }
    /** Connect anew, with other credentials. */
    setAccess(access) {
        this.#access = access;
        this.#followAnew();
    }
    #followAnew() {
        this.#following.close();
        this.#isRefused = false;
        this.#following = this.#follow();
    }
    #follow() {
        const following = new Follower({
            url: this.#url,
            ...this.#access,
            modelIds: this.#followed,
            onThumbnail: (thumbnail) => {
                this.#shown.set(thumbnail.modelId, thumbnail);
                for (const element of this.#elements.get(thumbnail.modelId) ?? [])
                    element.show(thumbnail);
            },
        });
        following.closed.catch((error) => {
            console.error("thumbq: the gateway refuses the elements of this page", error);
            this.#isRefused ||= following === this.#following;
        });
        return following;
    }
    static at(url) {
        const { href } = gatewayAddress(url); // with a slash at its end or without
        const gallery = Gallery.#galleries.get(href) ?? new Gallery(href);
        Gallery.#galleries.set(href, gallery);
        return gallery;
    }
    enter(modelId, element) {
        const elements = this.#elements.get(modelId) ?? new Set();
        this.#elements.set(modelId, elements.add(element));
        const thumbnail = this.#shown.get(modelId);
        if (thumbnail)
            void this.#show(thumbnail, element);
        queueMicrotask(() => this.#update());
    }
    /** Show a model that others show already, whose ticket may have ended since. */
    async #show(thumbnail, element) {
        const { modelId } = thumbnail;
        const renewed = await this.#following.renewed(thumbnail);
        // Its state may have changed meanwhile, and the element may have left.
        const isPresent = this.#shown.get(modelId) === thumbnail && this.#elements.get(modelId)?.has(element);
        if (renewed && isPresent)
            element.show(renewed);
    }
    leave(modelId, element) {
        const elements = this.#elements.get(modelId);
        elements?.delete(element);
        if (elements?.size === 0)
            this.#elements.delete(modelId);
        queueMicrotask(() => this.#update());
    }
    /** Follow what the page shows now. Elements that come or go together make one request. */
    #update() {
        const added = [...this.#elements.keys()].filter((modelId) => !this.#followed.has(modelId));
        const removed = [...this.#followed].filter((modelId) => !this.#elements.has(modelId));
        for (const modelId of removed) {
            this.#followed.delete(modelId);
            this.#shown.delete(modelId);
        }
        for (const modelId of added)
            this.#followed.add(modelId);
        if (this.#isRefused)
            return this.#followAnew(); // the reader may have signed in meanwhile
        if (added.length > 0)
            this.#following.add(...added);
        if (removed.length > 0)
            this.#following.remove(...removed);
    }
}
// A server that draws pages imports this module as well, and has no elements.
const registry = globalThis.customElements;
const Base = globalThis.HTMLElement ?? class {
};
/**
 * `<thumbq-thumbnail model-id="42">`: the thumbnail of a model, always the present one. Its content stands there until
 * there is a picture. The attribute `status` tells the state, for CSS; each change is a `thumbnail` event.
 */
export class ThumbnailElement extends Base {
    static observedAttributes = ["model-id", "url"];
    #picture = document.createElement("img");
    #placeholder = document.createElement("slot");
    #leave;
    constructor() {
        super();
        this.#picture.setAttribute("part", "picture");
        this.#picture.style.cssText = "max-width: 100%; display: none";
        this.attachShadow({ mode: "open" }).append(this.#picture, this.#placeholder);
    }
    connectedCallback() {
        this.disconnectedCallback();
        const modelId = Number(this.getAttribute("model-id"));
        if (!Number.isSafeInteger(modelId) || modelId < 1)
            return;
        const gallery = Gallery.at(this.getAttribute("url") ?? undefined);
        this.#leave = () => gallery.leave(modelId, this);
        gallery.enter(modelId, this);
    }
    /** Have the elements of a gateway show an API key, or the tickets that a function fetches. */
    static setAccess(access, url) {
        const serving = registry?.get("thumbq-thumbnail");
        if (serving && serving !== ThumbnailElement)
            serving.setAccess(access, url);
        else
            Gallery.at(url).setAccess(access);
    }
    disconnectedCallback() {
        this.#leave?.();
        this.#leave = undefined;
    }
    attributeChangedCallback(_name, before, now) {
        if (before === now)
            return;
        this.removeAttribute("status");
        this.#draw();
        if (this.isConnected)
            this.connectedCallback();
    }
    show(thumbnail) {
        const { modelId, status, pictureUrl } = thumbnail;
        this.setAttribute("status", status);
        this.#picture.alt = this.getAttribute("alt") ?? `Thumbnail of model ${modelId}`;
        this.#draw(pictureUrl);
        this.dispatchEvent(new CustomEvent("thumbnail", { detail: thumbnail }));
    }
    /** Show a picture, or without one the content of the element. */
    #draw(pictureUrl) {
        if (pictureUrl === undefined)
            this.#picture.removeAttribute("src");
        else
            this.#picture.src = pictureUrl;
        this.#picture.style.display = pictureUrl === undefined ? "none" : "block";
        this.#placeholder.style.display = pictureUrl === undefined ? "contents" : "none";
    }
}
// A page may have two copies of this module, as two bundles or two versions do: the first serves all elements.
if (!registry?.get("thumbq-thumbnail"))
    registry?.define("thumbq-thumbnail", ThumbnailElement);
