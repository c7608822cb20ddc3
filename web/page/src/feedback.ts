// Comments that are being written, by their answer's id: a row out of sight keeps nothing.
export const comments = new Map<string, string>();
