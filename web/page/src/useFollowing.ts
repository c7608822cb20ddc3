import { useCallback, useEffect, useLayoutEffect, useRef, useState, type RefObject } from "react";

const NEAR = 48;
/** Milliseconds that a scroll goes on after what set it off: a finger's flick is the longest. */
const MOMENTUM = 1500;

/**
 * Keeps a scrolled box at its end while the reader wants that.
 *
 * What the reader means is latched, and not read from the position: that says "not at the end"
 * whenever an answer has just grown, and "at the end" when somebody has just begun to scroll up.
 * The slightest move upwards lets go; coming back to the end, by hand or by the pill, takes hold.
 */
export function useFollowing(scroller: RefObject<HTMLElement | null>) {
  const wanted = useRef(true);
  const [following, setFollowing] = useState(true);
  const last = useRef(0); // where it was at the last look

  const want = useCallback((now: boolean) => {
    wanted.current = now;
    setFollowing(now);
  }, []);

  const pin = useCallback(() => {
    const box = scroller.current;
    if (!box || !wanted.current) return;
    box.scrollTop = box.scrollHeight;
    last.current = box.scrollTop;
  }, [scroller]);

  useLayoutEffect(pin);

  useEffect(() => {
    const box = scroller.current;
    if (!box) return;
    const end = () => box.scrollHeight - box.clientHeight;
    const scrollable = () => end() > 1;
    let touchedAt = 0;
    let downAt = -MOMENTUM; // when the reader last went down
    let held = false; // by the mouse, on the scroll bar

    const letGo = () => {
      downAt = -MOMENTUM;
      if (scrollable()) want(false);
    };
    const down = () => (downAt = performance.now());
    const wheel = ({ deltaY }: WheelEvent) => {
      if (deltaY < 0) letGo();
      if (deltaY > 0) down();
    };
    const touch = (event: TouchEvent) => (touchedAt = event.touches[0]?.clientY ?? 0);
    const drag = (event: TouchEvent) => {
      const at = event.touches[0]?.clientY ?? 0;
      if (at > touchedAt + 2) letGo();
      if (at < touchedAt) down();
      touchedAt = at;
    };
    const key = (event: KeyboardEvent) => {
      if ((event.target as Element).closest("textarea, input")) return; // it moves in there
      if (["ArrowUp", "PageUp", "Home"].includes(event.key)) letGo();
      if (["ArrowDown", "PageDown", " "].includes(event.key)) down();
      if (event.key === "End") want(true);
    };
    const press = (event: PointerEvent) => (held = event.target === box);
    const release = () => (held = false);
    const scrolled = () => {
      const { scrollTop } = box;
      // Down by the reader's own doing: this page scrolls down as well, to keep a place.
      const wentDown = scrollTop > last.current && (held || performance.now() - downAt < MOMENTUM);
      if (held && scrollTop < last.current - 2) letGo();
      else if (!wanted.current && wentDown && scrollTop >= end() - NEAR) want(true);
      last.current = scrollTop;
    };
    const options = { passive: true };
    box.addEventListener("wheel", wheel, options);
    box.addEventListener("touchstart", touch, options);
    box.addEventListener("touchmove", drag, options);
    box.addEventListener("keydown", key);
    box.addEventListener("pointerdown", press);
    window.addEventListener("pointerup", release);
    window.addEventListener("pointercancel", release);
    box.addEventListener("scroll", scrolled, options);
    const observer = new ResizeObserver(pin); // the box below grows, a phone's keyboard opens
    observer.observe(box);
    return () => {
      box.removeEventListener("wheel", wheel);
      box.removeEventListener("touchstart", touch);
      box.removeEventListener("touchmove", drag);
      box.removeEventListener("keydown", key);
      box.removeEventListener("pointerdown", press);
      window.removeEventListener("pointerup", release);
      window.removeEventListener("pointercancel", release);
      box.removeEventListener("scroll", scrolled);
      observer.disconnect();
    };
  }, [scroller, want, pin]);

  return { following, wanted, want, pin };
}
