// A picture as it may be sent: as it is where that fits, else smaller, made so here.
import type { NewAttachment } from "mnemosio-client";

export const TYPES = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/** Of a picture that is sent as it is, so that it can be shown anywhere. */
const MOST_PIXELS = 24_000_000;
const LONGEST_SIDE = 8192;
/** In pixels; models look at no more than the second of these. */
const SIDES = [2048, 1568, 1024, 768, 512, 256];
const QUALITIES = [0.88, 0.75, 0.6];

/** Throws, in words for people, where it is no picture. */
export async function take(file: Blob, mostBytes: number, name = "This file"): Promise<NewAttachment> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Error(`${name} is not an image that can be shown here.`);
  });
  try {
    const { width, height } = bitmap;
    const isSmall = Math.max(width, height) <= LONGEST_SIDE && width * height <= MOST_PIXELS;
    const fits = TYPES.includes(file.type) && file.size <= mostBytes && isSmall;
    const image = fits ? file : await smaller(bitmap, mostBytes);
    return { mediaType: image.type, data: await bytesOf(image) };
  } finally {
    bitmap.close();
  }
}

/** These and no more bytes together: whatever has more than its part of them is made smaller. */
export async function together(images: readonly NewAttachment[], mostBytes: number): Promise<NewAttachment[]> {
  const all = images.reduce((sum, { data }) => sum + data.byteLength, 0);
  if (all <= mostBytes) return [...images];
  const part = Math.floor(mostBytes / images.length);
  return Promise.all(
    images.map((image) =>
      image.data.byteLength <= part ? image : take(new Blob([image.data], { type: image.mediaType }), part),
    ),
  );
}

async function bytesOf(blob: Blob) {
  return new Uint8Array(await blob.arrayBuffer());
}

async function smaller(bitmap: ImageBitmap, mostBytes: number): Promise<Blob> {
  for (const side of SIDES) {
    const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
    const canvas = document.createElement("canvas");
    canvas.width = Math.max(1, Math.round(bitmap.width * scale));
    canvas.height = Math.max(1, Math.round(bitmap.height * scale));
    const pen = canvas.getContext("2d");
    if (!pen) break;
    pen.fillStyle = "#fff"; // what is transparent: a JPEG has none of that
    pen.fillRect(0, 0, canvas.width, canvas.height);
    pen.imageSmoothingQuality = "high";
    pen.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
    for (const quality of QUALITIES) {
      const blob = await new Promise<Blob | null>((done) => canvas.toBlob(done, "image/jpeg", quality));
      if (blob && blob.size <= mostBytes) return blob;
    }
  }
  throw new Error("This image could not be made small enough.");
}
