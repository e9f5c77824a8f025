/** A question that cannot be answered as it was put; the message is text for the reader. */
export class InputError extends Error {}
