/** One request at a time: of those that come meanwhile only the latest is sent. */
export class Latest<Question, Answer> {
  private running = false;
  private waiting: { question: Question } | null = null;

  constructor(
    private readonly ask: (question: Question) => Promise<Answer>,
    private readonly done: (answer: Answer, question: Question) => void,
    private readonly failed: (error: unknown) => void,
  ) {}

  next(question: Question): void {
    this.waiting = { question };
    if (!this.running) void this.run();
  }

  /** Forget what waits. */
  drop(): void {
    this.waiting = null;
  }

  private async run(): Promise<void> {
    this.running = true;
    while (this.waiting) {
      const { question } = this.waiting;
      this.waiting = null;
      try {
        this.done(await this.ask(question), question);
      } catch (error) {
        this.failed(error);
      }
    }
    this.running = false;
  }
}
