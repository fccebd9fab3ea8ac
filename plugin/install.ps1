# Installs the executable of one release on Windows, after checking its SHA-256.
#
#   LOCAL_MODEL_MCP_INSTALL_DIR   the folder to install into; the default is
#                                 %LOCALAPPDATA%\Programs\local-model-mcp
#   LOCAL_MODEL_MCP_RELEASES      a mirror of the releases: ADDRESS/vX.Y.Z/FILE
#
# packaging/assemble writes the three lines below for a release. While they are empty, no release
# exists. Everything is in one script block, so that a download that was cut off does nothing.
& {
    $version = ""
    $releases = "https://github.com/local-model-mcp/local-model-mcp/releases/download"
    $digests = ""

    $ErrorActionPreference = 'Stop'
    # The progress bar makes downloads many times slower in Windows PowerShell.
    $ProgressPreference = 'SilentlyContinue'
    [Net.ServicePointManager]::SecurityProtocol =
        [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $repository = 'https://github.com/local-model-mcp/local-model-mcp'
    $source = "build it from source: $repository/blob/main/docs/guide.md#installing"
    $target = 'x86_64-pc-windows-msvc'
    $name = "local-model-mcp-$target"
    $temporary = $null

    try {
        if (-not $version) { throw "no release has been published yet; $source" }
        if ($env:PROCESSOR_ARCHITECTURE -ne 'AMD64' -and $env:PROCESSOR_ARCHITEW6432 -ne 'AMD64') {
            throw "there is no release for Windows on $env:PROCESSOR_ARCHITECTURE; $source"
        }
        $folder = $env:LOCAL_MODEL_MCP_INSTALL_DIR
        if (-not $folder) { $folder = Join-Path $env:LOCALAPPDATA 'Programs\local-model-mcp' }
        $temporary = Join-Path $folder ('.local-model-mcp.' + [Guid]::NewGuid().ToString('N'))
        try { New-Item -ItemType Directory -Force $temporary | Out-Null } catch {
            throw "$folder is not writable; set LOCAL_MODEL_MCP_INSTALL_DIR to a folder that is"
        }
        if ($env:LOCAL_MODEL_MCP_RELEASES) { $releases = $env:LOCAL_MODEL_MCP_RELEASES }
        $address = "$releases/v$version/$name.tar.gz"
        $archive = Join-Path $temporary 'archive.tar.gz'
        try { Invoke-WebRequest -UseBasicParsing -Uri $address -OutFile $archive } catch {
            throw "$address cannot be downloaded ($($_.Exception.Message)); " +
                'check the connection, or set LOCAL_MODEL_MCP_RELEASES to a mirror'
        }
        $found = (Get-FileHash -Algorithm SHA256 $archive).Hash.ToLowerInvariant()
        $expected = $digests -split ' ' -match "^$target=" -replace '^.*=', ''
        if ($found -ne $expected) {
            throw "$address has SHA-256 $found, expected $expected; nothing was installed"
        }
        # Part of Windows since version 1803.
        & "$env:SystemRoot\System32\tar.exe" -xzf $archive -C $temporary
        if ($LASTEXITCODE -ne 0) {
            throw "$address cannot be unpacked; tar.exe ended with status $LASTEXITCODE"
        }
        $executable = Join-Path $temporary "$name\local-model-mcp.exe"
        # Loads the runtime and the built-in model once; shows whether a system library is missing.
        & $executable check --cache-dir (Join-Path $temporary 'cache') | Out-Null
        if ($LASTEXITCODE -ne 0) {
            throw "the executable ended with status $LASTEXITCODE; " +
                'it needs the Microsoft Visual C++ Redistributable for x64'
        }
        $installed = Join-Path $folder 'local-model-mcp.exe'
        try { Move-Item -Force $executable $installed } catch {
            throw "$installed cannot be replaced; close the programs that use it"
        }
        Write-Output "installed $installed $version"
        Write-Output "next: & '$installed' register --apply"
    } catch {
        [Console]::Error.WriteLine("local-model-mcp: $($_.Exception.Message)")
        # `exit` would close the window of a person who pasted the command.
        $global:LASTEXITCODE = 1
    } finally {
        if ($temporary) { Remove-Item -Recurse -Force $temporary -ErrorAction SilentlyContinue }
    }
}
