# The formula of the tap local-model-mcp/tap. packaging/assemble fills in the words in capitals.
class LocalModelMcp < Formula
  desc "Your own text classifier as a tool of Claude Code"
  homepage "https://github.com/local-model-mcp/local-model-mcp"
  license any_of: ["Apache-2.0", "MIT"]

  on_macos do
    depends_on arch: :arm64
    depends_on macos: :sonoma
    URL aarch64-apple-darwin
    SHA256 aarch64-apple-darwin
  end

  on_linux do
    on_intel do
      URL x86_64-unknown-linux-gnu
      SHA256 x86_64-unknown-linux-gnu
    end
    on_arm do
      URL aarch64-unknown-linux-gnu
      SHA256 aarch64-unknown-linux-gnu
    end
  end

  def install
    bin.install "local-model-mcp"
    generate_completions_from_executable(bin/"local-model-mcp", "completions",
                                         shells: [:bash, :zsh, :fish])
    (man1/"local-model-mcp.1").write Utils.safe_popen_read(bin/"local-model-mcp", "man")
    doc.install "THIRD-PARTY-NOTICES", "skill"
  end

  test do
    assert_match "positive", shell_output("#{bin}/local-model-mcp predict 'I love this'")
  end
end
