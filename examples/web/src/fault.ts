/** What a user can do wrong, or a browser lacks: an error and what to do about it, as the command line says it. */
export class Fault extends Error {
  constructor(
    message: string,
    readonly hint: string,
  ) {
    super(message);
  }
}
