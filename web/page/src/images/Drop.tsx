import { useLayoutEffect, useState } from "react";
import { imagesOf } from "./usePicked.ts";

/** Takes images that are dropped anywhere on the page; says so while one is above it. */
export function Drop({ onDrop }: { onDrop: (files: File[]) => void }) {
  const [above, setAbove] = useState(false);
  // Before the page is painted: what it shows can be dropped on.
  useLayoutEffect(() => {
    const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault(); // or the browser would leave the page for the file
      setAbove(true);
    };
    const leave = (event: DragEvent) => {
      if (event.relatedTarget === null) setAbove(false);
    };
    const drop = (event: DragEvent) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      setAbove(false);
      const files = imagesOf(event.dataTransfer);
      if (files.length) onDrop(files);
    };
    window.addEventListener("dragover", over);
    window.addEventListener("dragleave", leave);
    window.addEventListener("drop", drop);
    return () => {
      window.removeEventListener("dragover", over);
      window.removeEventListener("dragleave", leave);
      window.removeEventListener("drop", drop);
    };
  });
  return above ? <p className="drop">Drop the image here</p> : null;
}
