// refusal - an error whose message is for the user: what is wrong with a file, and what helps.

export class Refusal extends Error {
  constructor(message) {
    super(message);
    this.name = "Refusal";
  }
}
