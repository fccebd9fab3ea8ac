# Prints the path of the executable that the plugin starts on Windows: a local-model-mcp that is
# installed, or else the release that install.ps1 names, which is downloaded once into
# LOCAL_MODEL_MCP_INSTALL_DIR.
$ErrorActionPreference = 'Stop'
$store = $env:LOCAL_MODEL_MCP_INSTALL_DIR
$installer = Join-Path $PSScriptRoot 'install.ps1'
$version = [regex]::Match((Get-Content -Raw $installer), '\$version = "(.*)"').Groups[1].Value

# A project is other people's code, so nothing below it is started. A home directory is no project.
$project = $env:CLAUDE_PROJECT_DIR
if (-not $project) { $project = (Get-Location).ProviderPath }
$project = [IO.Path]::GetFullPath($project).TrimEnd('\') + '\'
$ignoreCase = [StringComparison]::OrdinalIgnoreCase
if (($env:USERPROFILE.TrimEnd('\') + '\').StartsWith($project, $ignoreCase)) { $project = $null }

$folders = $env:PATH -split ';' | Where-Object { $_ }
$folders += Join-Path $env:LOCALAPPDATA 'Programs\local-model-mcp'
$folders += Join-Path $env:USERPROFILE '.local\bin'
$folders += Join-Path $env:USERPROFILE '.cargo\bin'
foreach ($folder in $folders) {
    $executable = Join-Path $folder 'local-model-mcp.exe'
    if (-not (Test-Path -LiteralPath $executable -PathType Leaf)) { continue }
    $absolute = [IO.Path]::GetFullPath($executable)
    if ($absolute -ne $executable) { $ignored = "$executable is a relative path"; continue }
    if ($project -and $absolute.StartsWith($project, $ignoreCase)) {
        $ignored = "$executable is inside the project"
        continue
    }
    Write-Output $absolute
    exit 0
}
if ($ignored) { [Console]::Error.WriteLine("local-model-mcp: $ignored, so it is not started") }

$executable = Join-Path $store "$version\local-model-mcp.exe"
if (-not $version -or -not (Test-Path -LiteralPath $executable -PathType Leaf)) {
    $env:LOCAL_MODEL_MCP_INSTALL_DIR = Join-Path $store $version
    & $installer | Out-Null
    if (-not (Test-Path -LiteralPath $executable -PathType Leaf)) { exit 1 }
}
Write-Output $executable
