import { useRef, useState } from "react";
import type { NewAttachment } from "mnemosio-client";
import { messageOf } from "../errors.ts";
import { keepPicked, pickedIn, type Picked } from "./picked.ts";
import { take, together } from "./take.ts";

/** What one message may carry. */
export interface Room {
  /** 0: the server takes no images. */
  most: number;
  mostBytes: number;
}

const TOGETHER = 950_000; // a call has less than a megabyte of them
let count = 0;

/** The images that go with the next message: chosen, pasted or dropped. */
export function usePicked(draftKey: string | null, { most, mostBytes }: Room) {
  const [picked, setPicked] = useState(() => pickedIn(draftKey));
  const [working, setWorking] = useState(false);
  const [error, setError] = useState("");
  const latest = useRef(picked);

  function put(now: readonly Picked[]) {
    latest.current = now;
    keepPicked(draftKey, now);
    setPicked(now);
  }

  async function add(files: readonly File[]) {
    setError("");
    setWorking(true);
    try {
      for (const file of files) await addOne(file);
    } catch (reason) {
      setError(messageOf(reason));
    }
    await fit();
    setWorking(false);
  }

  async function addOne(file: File) {
    if (latest.current.length >= most) {
      throw new Error(`A message may have ${most} ${most === 1 ? "image" : "images"} at most.`);
    }
    const image = await take(file, Math.min(mostBytes || TOGETHER, TOGETHER), file.name || "This file");
    put([...latest.current, { key: `${++count}`, name: file.name || "Image", image }]);
  }

  /** All of them into one call; what was taken away meanwhile stays away. */
  async function fit() {
    const all = latest.current;
    const images = await together(
      all.map(({ image }) => image),
      TOGETHER,
    );
    const fitting = new Map(all.map(({ key }, index) => [key, images[index]]));
    put(latest.current.map((each) => ({ ...each, image: fitting.get(each.key) ?? each.image })));
  }

  function remove(key: string) {
    setError("");
    put(latest.current.filter((each) => each.key !== key));
  }

  /** Those that are sent now. */
  function taken(): readonly NewAttachment[] {
    const images = latest.current.map(({ image }) => image);
    put([]);
    return images;
  }

  return { picked, working, error, add, remove, taken };
}

/** The images among what is pasted or dropped. */
export function imagesOf(data: DataTransfer | null): File[] {
  return [...(data?.files ?? [])].filter(({ type }) => type.startsWith("image/"));
}
