// How large a picture says it is, whether it moves, and whether it holds inks with a profile, from its first bytes: before it is decoded.

const FORMATS = { png, gif, jpeg, webp, bmp };

// {format, width, height, animated, inks} of the formats we know; null for any other file.
export function inspect(bytes) {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (const [format, read] of Object.entries(FORMATS)) {
    try {
      const found = read(view, bytes);
      if (found) return { format, animated: false, inks: false, ...found };
    } catch {
      return null; // it begins like such a file and ends too early
    }
  }
  return null;
}

const starts = (bytes, ...wanted) => wanted.every((byte, k) => bytes[k] === byte);
const text = (bytes, from, to) => String.fromCharCode(...bytes.subarray(from, to));

function png(view, bytes) {
  if (!starts(bytes, 0x89, 0x50, 0x4e, 0x47)) return null;
  return { width: view.getUint32(16), height: view.getUint32(20), animated: text(bytes, 0, 200).includes("acTL") };
}

function gif(view, bytes) {
  if (text(bytes, 0, 4) !== "GIF8") return null;
  return { width: view.getUint16(6, true), height: view.getUint16(8, true), animated: gifFrames(bytes) > 1 };
}

// Image descriptors of a GIF, at most two.
function gifFrames(bytes) {
  const colours = (flags) => (flags & 0x80 ? 3 * 2 ** ((flags & 7) + 1) : 0);
  let at = 13 + colours(bytes[10]);
  let frames = 0;
  const skip = () => { while (bytes[at]) at += bytes[at] + 1; at += 1; };
  while (at < bytes.length && frames < 2) {
    if (bytes[at] === 0x2c) {
      frames += 1;
      at += 11 + colours(bytes[at + 9]);
      skip();
    } else if (bytes[at] === 0x21) {
      at += 2;
      skip();
    } else break;
  }
  return frames;
}

function jpeg(view, bytes) {
  if (!starts(bytes, 0xff, 0xd8)) return null;
  let profile = false;
  for (let at = 2; at < bytes.length;) {
    const marker = bytes[at + 1];
    profile ||= marker === 0xe2 && text(bytes, at + 4, at + 15) === "ICC_PROFILE";
    const isSize = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isSize) return { height: view.getUint16(at + 5), width: view.getUint16(at + 7), inks: profile && bytes[at + 9] === 4 };
    at += marker === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return null;
}

function webp(view, bytes) {
  if (text(bytes, 0, 4) !== "RIFF" || text(bytes, 8, 12) !== "WEBP") return null;
  const kind = text(bytes, 12, 16);
  if (kind === "VP8X") return { width: 1 + (view.getUint32(24, true) & 0xffffff), height: 1 + (view.getUint32(27, true) & 0xffffff), animated: Boolean(bytes[20] & 2) };
  if (kind === "VP8L") return { width: 1 + (view.getUint32(21, true) & 0x3fff), height: 1 + ((view.getUint32(21, true) >>> 14) & 0x3fff) };
  return { width: view.getUint16(26, true) & 0x3fff, height: view.getUint16(28, true) & 0x3fff };
}

function bmp(view, bytes) {
  if (text(bytes, 0, 2) !== "BM") return null;
  if (view.getUint32(14, true) === 12) return { width: view.getUint16(18, true), height: view.getUint16(20, true) }; // of OS/2
  return { width: Math.abs(view.getInt32(18, true)), height: Math.abs(view.getInt32(22, true)) };
}
